"""NumPy in float64: the oracle's formula for blocks of rows, each over the keys that some of its rows see."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import evaluate
from attnmask.lower.chunks import SCORES, keys_between
from attnmask.lower.visible import visible_runs
from attnmask.run.engines.numpy.oracle import Array, as_given, attention_weights, formula
from attnmask.run.request import Request, Work

__all__ = ["attention", "attention_lse", "attention_weights", "cost", "refusal", "work"]

Block = tuple[int, int, NDArray[np.int64]]  # rows first .. stop and the keys that some of them see

ROWS = 64  # of a block: more rows share fewer of their keys, fewer are slower products


def refusal(request: Request) -> str | None:
    """Nothing is refused."""
    return None


def cost(request: Request) -> float:
    """Of all pairs; there is no other engine."""
    return float(request.pairs)


def work(request: Request) -> Work:
    """The formula for each block."""
    found = list(_blocks(request.mask, request.frame, request.copies))
    pairs = sum((stop - first) * len(keys) for first, stop, keys in found)
    count = f"{len(found):,} block{'' if len(found) == 1 else 's'}"
    return Work(
        len(found), request.copies * pairs, f"the formula for {count} of up to {ROWS} rows, over the keys they see"
    )


def attention(q: Array, k: Array, v: Array, mask: Mask, frame: Frame, scale: float) -> Array:
    """softmax(scale * q k^T) v over the visible keys, computed in float64, given in the number format of q."""
    return attention_lse(q, k, v, mask, frame, scale)[0]


def attention_lse(q: Array, k: Array, v: Array, mask: Mask, frame: Frame, scale: float) -> tuple[Array, Array]:
    """The output and the log-sum-exp of each row (batch, heads, q_len), -inf where it sees nothing."""
    output = np.zeros((*q.shape[:3], v.shape[3]), as_given(np.zeros(0), q).dtype)
    lse = np.full(q.shape[:3], -np.inf, np.promote_types(output.dtype, np.float32))
    for first, stop, keys in _blocks(mask, frame, q.shape[0] * q.shape[1]):
        rows, visible = slice(first, stop), _visible(mask, frame, first, stop, keys)
        output[:, :, rows], lse[:, :, rows] = formula(q[:, :, rows], k[:, :, keys], v[:, :, keys], visible, scale)
    return output, lse


def _blocks(mask: Mask, frame: Frame, copies: int) -> Iterator[Block]:
    """The blocks in which something is visible, of rows so few that their scores fit in memory."""
    waiting = [(first, min(first + ROWS, frame.q_len)) for first in range(0, frame.q_len, ROWS)][::-1]
    while waiting:
        first, stop = waiting.pop()
        keys = _keys(mask, frame, first, stop)
        if len(keys) * (stop - first) * copies > SCORES and stop - first > 1:
            middle = (first + stop) // 2
            waiting += [(middle, stop), (first, middle)]
        elif len(keys):
            yield first, stop, keys


def _keys(mask: Mask, frame: Frame, first: int, stop: int) -> NDArray[np.int64]:
    """The keys that some of the rows see; where they are too costly to find, all between bounds of the first and last."""
    found = visible_runs(mask, frame)
    if found is None:
        return np.arange(*keys_between(mask, frame, first, stop, 1))
    fitted, runs = found
    steps = np.zeros(frame.kv_len + 1, np.int64)
    for start in range(0, fitted.batch * fitted.heads * fitted.q_len, fitted.q_len):
        part = slice(runs.offsets[start + first], runs.offsets[start + stop])
        steps += np.bincount(runs.start[part], minlength=len(steps))
        steps -= np.bincount(runs.stop[part], minlength=len(steps))
    return np.flatnonzero(steps.cumsum())


def _visible(mask: Mask, frame: Frame, first: int, stop: int, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    """What rows see of keys (batch or 1, heads or 1, rows, keys)."""
    fitted = fit(mask, frame)
    batch, heads, rows = np.arange(fitted.batch), np.arange(fitted.heads), fitted.q_start + np.arange(first, stop)
    seen = evaluate(mask.node, batch[:, None, None, None], heads[:, None, None], rows[:, None], keys)
    return np.broadcast_to(seen, (fitted.batch, fitted.heads, len(rows), len(keys)))
