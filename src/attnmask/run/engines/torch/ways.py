"""The ways in which torch's kernels can compute a request, and what each costs."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attnmask.define.fit import Fitted, fit
from attnmask.exchange.common import plain_in
from attnmask.lower.runs import Ints, Runs
from attnmask.lower.visible import visible_runs
from attnmask.run.costs import Costs, costs_of
from attnmask.run.engines.torch.plan import Plan, plan, rough_cost
from attnmask.run.request import Request

FEW_PAIRS = 1 << 14  # per head: one call with a mask, without looking for others
SKIPPED = 512  # keys
FEW_ROWS = 64  # that share a head of keys
DTYPES = ("float32", "bfloat16", "float16", "float64")  # of the fused kernel that blocks are computed with


class Way(NamedTuple):
    """A way and its cost.

    Attributes:
        name: ``"plain"`` and ``"causal"``: one call without a mask; ``"keys"``: one call, of the keys that all rows see;
            ``"dense"``: one call with a mask; ``"blocks"``, ``"edges"``: the plan of that name.
        cost: of the whole request, see ``Costs``.
        keys: what all rows see, of the way ``"keys"``.
    """

    name: str
    cost: float
    keys: slice | None = None


@functools.lru_cache(maxsize=512)
def cheapest(request: Request) -> Way:
    """The way to take."""
    return min(_ways(request), key=lambda way: way.cost)


def planned(request: Request) -> Plan | None:
    """The plan of the way to take, if it has one."""
    name = cheapest(request).name
    if name not in ("blocks", "edges"):
        return None
    return plan(request.mask, request.frame, _per_copy(request), edges=name == "edges")


def _per_copy(request: Request) -> Costs:
    """The costs, a call divided among the batches and heads that the mask does not tell apart."""
    costs, fitted = costs_of(request), fit(request.mask, request.frame)
    return costs._replace(call=costs.call * fitted.batch * fitted.heads / request.copies)


def _ways(request: Request) -> Iterator[Way]:
    costs, frame = costs_of(request), request.frame
    known, pairs = plain_in(request.mask, frame), request.pairs
    dense = _of_few(request, costs, frame.kv_len) if few_rows(request) else costs.dense * pairs
    if known == "causal":
        yield Way("causal", costs.short + costs.causal * request.copies * causal_pairs(frame.q_len))
        return
    if known != "other":
        yield Way("plain", costs.short + (dense if few_rows(request) else pairs))
        return
    yield Way("dense", costs.short + dense)
    if frame.q_len > 1 and pairs <= FEW_PAIRS * request.copies:
        return
    found = visible_runs(request.mask, frame)
    if found is None:
        return
    fitted, runs = found
    keys = _common(fitted, runs)
    if keys is not None:
        number = len(range(*keys.indices(frame.kv_len)))
        computed = _of_few(request, costs, number) if few_rows(request) else request.copies * frame.q_len * number
        yield Way("keys", costs.short + computed, keys)
    elif in_blocks(request):
        heads = fitted.batch * fitted.heads
        visible = costs.edge * int(runs.length.sum()) + costs.edges * runs.rows
        read = costs.key * _spanned(runs) if few_rows(request) else 0.0  # by each head
        yield Way("blocks", (rough_cost(fitted, runs, _per_copy(request)) + read * heads) * request.copies / heads)
        yield Way("edges", visible * request.copies / heads)


def few_rows(request: Request) -> bool:
    """Whether the rows that read a key together are so few that reading is what costs."""
    return request.setting.device == "cpu" and request.frame.q_len * request.heads <= FEW_ROWS * request.kv_heads


def _of_few(request: Request, costs: Costs, keys: int) -> float:
    """One call of few rows over so many keys."""
    read = request.batch * request.kv_heads * keys
    return costs.key * read + costs.few * request.copies * request.frame.q_len * keys


def _spanned(runs: Runs) -> int:
    """Keys from the first to the last that some row sees."""
    return int(runs.stop.max(initial=0)) - int(runs.start.min(initial=runs.stop.max(initial=0)))


def causal_pairs(length: int) -> int:
    """Pairs that SDPA computes under its causal flag: it skips whole blocks of keys only.

    >>> causal_pairs(64), causal_pairs(1024) / 1024**2
    (4096, 0.75)
    """
    last = (np.arange(length) // SKIPPED + 1) * SKIPPED
    return int(np.minimum(last, length).sum())


def in_blocks(request: Request) -> bool:
    """Whether the fused kernel can be called for parts of a request, of which nobody looks at the operations inside."""
    setting = request.setting
    known = setting.device == "cpu" and setting.dtype in DTYPES and request.dim == request.dim_v
    return known and setting.fused and not (setting.transformed or setting.compiled)


def _common(frame: Fitted, runs: Runs) -> slice | None:
    """The keys, evenly spaced, that all rows see; None where there are no such, or rows differ."""
    counts = np.diff(runs.offsets)
    if frame.batch * frame.heads > 1 or not len(runs.start) or (counts != counts[0]).any():
        return None
    starts, stops = (ends.reshape(runs.rows, -1) for ends in (runs.start, runs.stop))
    if (starts != starts[0]).any() or (stops != stops[0]).any():
        return None
    return _even(starts[0], stops[0])


def _even(starts: Ints, stops: Ints) -> slice | None:
    if len(starts) == 1:
        return slice(int(starts[0]), int(stops[0]))
    steps = np.diff(starts)
    alone = (stops - starts == 1).all() and (steps == steps[0]).all()
    return slice(int(starts[0]), int(stops[-1]), int(steps[0])) if alone else None
