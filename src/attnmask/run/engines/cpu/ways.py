"""The two ways of the kernel, and what each costs: blocks of rows, and groups of few rows that read a key together."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.visible import visible_runs
from attnmask.run.costs import Costs, costs_of
from attnmask.run.engines.cpu.blocks import Blocks, blocks_of
from attnmask.run.request import Request

FEW = 16  # positions that are one group


class Way(NamedTuple):
    """A way to compute a request.

    Attributes:
        grouped: whether the numbers of a key are the lanes (``kernel/groups.cpp``), not rows (``kernel/blocks.cpp``).
        size: positions in a group, or rows in a block.
        cost: of the whole request, see ``Costs``.
        computed: pairs of a query and a key that are computed.
    """

    grouped: bool
    size: int
    cost: float
    computed: int


@functools.lru_cache(maxsize=512)
def cheapest(request: Request) -> Way | None:
    """The way to take; None where what each row sees is too costly to find."""
    return min(_ways(request), key=lambda way: way.cost, default=None)


def lists_of(mask: Mask, frame: Frame, way: Way | None, rows: int) -> Blocks:
    """The lists of a way, where blocks have so many rows."""
    assert way is not None, "it would have been refused"
    found = blocks_of(mask, frame, way.size if way.grouped else rows, grouped=way.grouped)
    assert found is not None, "nor would there be a way"
    return found


def _ways(request: Request) -> Iterator[Way]:
    found = visible_runs(request.mask, request.frame)
    if found is None:
        return
    costs, size, groups = costs_of(request), request.processor.rows, _groups(request)
    if groups is not None:
        yield groups
    blocks = blocks_of(request.mask, request.frame, size)
    assert blocks is not None
    batch, heads, _, _ = blocks.rows.shape
    lists = costs.kernel_block * blocks.rows.size / size + costs.kernel_run * len(blocks.start)
    copies = request.copies / (batch * heads)
    cost = costs.kernel_call + (costs.kernel * blocks.computed + lists) * copies
    yield Way(False, size, float(cost), int(blocks.computed * copies))


def _groups(request: Request) -> Way | None:
    """Of few positions all, of many each alone; gradients are made by a pass that knows positions alone."""
    fitted, shared = fit(request.mask, request.frame), request.heads // request.kv_heads
    if shared > 1 and fitted.heads > 1:  # heads that share keys see different ones
        return None
    size = request.frame.q_len if request.frame.q_len <= FEW and not request.setting.grad else 1
    keys, runs, lists = _counted(request, size)
    copies = request.batch * request.kv_heads / (fitted.batch * fitted.heads)
    costs: Costs = costs_of(request)
    pairs = keys * size * shared
    cost = costs.group_list * lists + costs.group_run * runs + costs.group_key * (keys - runs) + costs.group * pairs
    return Way(True, size, float(costs.kernel_call + cost * copies), int(pairs * copies))


def _counted(request: Request, size: int) -> tuple[int, int, int]:
    """Keys, runs of keys and lists, over the batches and heads that the mask tells apart."""
    if size == 1:  # known without making the lists
        found = visible_runs(request.mask, request.frame)
        assert found is not None
        return int(found[1].length.sum()), len(found[1].start), found[1].rows
    blocks = blocks_of(request.mask, request.frame, size, grouped=True)
    assert blocks is not None
    return blocks.computed // size, len(blocks.start), blocks.rows.size // size
