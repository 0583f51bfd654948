"""The oracle of selections: all scores in float64, a stable sort, and then attention under the mask that was selected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.selection import Selection
from attnmask.exchange.common import mask_of_array
from attnmask.lower.grid import dense
from attnmask.run.engines.numpy import oracle

Array = NDArray[Any]
Bools = NDArray[np.bool_]


def attention(q: Array, k: Array, v: Array, selection: Selection, frame: Frame, scale: float) -> Array:
    """Attention under the pairs that are selected."""
    return oracle.attention(q, k, v, *_taken(q, k, selection, frame, scale), scale)


def attention_weights(q: Array, k: Array, selection: Selection, frame: Frame, scale: float) -> Array:
    """The softmax alone."""
    return oracle.attention_weights(q, k, *_taken(q, k, selection, frame, scale), scale)


def gradients(
    q: Array, k: Array, v: Array, grad_output: Array, selection: Selection, frame: Frame, scale: float
) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v, the selection being constant."""
    return oracle.gradients(q, k, v, grad_output, *_taken(q, k, selection, frame, scale), scale)


def _taken(q: Array, k: Array, selection: Selection, frame: Frame, scale: float) -> tuple[Mask, Frame]:
    """The pairs that are selected (batch, heads, q_len, kv_len), as a mask that starts at query 0."""
    taken = selected(q, k, selection, frame, scale)
    return mask_of_array(taken, 0), Frame(*taken.shape[2:], q_start=0)


def selected(q: Array, k: Array, selection: Selection, frame: Frame, scale: float) -> Bools:
    """The pairs that are visible and that all rules select."""
    keys = np.repeat(np.asarray(k, np.float64), q.shape[1] // k.shape[1], axis=1)
    scores = scale * (np.asarray(q, np.float64) @ keys.swapaxes(2, 3))
    visible = np.broadcast_to(dense(selection.mask, frame), scores.shape)
    by_rule = [RULES[rule.name](scores, visible, *rule.args) for rule in selection.rules]
    taken: Bools = np.logical_and.reduce(by_rule)
    return taken


def _top_k(scores: Array, visible: Bools, k: int) -> Bools:
    """By a stable sort: visible before hidden, then higher before lower, then earlier before later; NaN is highest."""
    falling = -np.where(np.isnan(scores), np.inf, scores)
    order = np.lexsort((falling, ~visible), axis=-1)
    rank = np.argsort(order, axis=-1)
    return visible & (rank < k)


def _top_k_blocks(scores: Array, visible: Bools, k: int, size: int) -> Bools:
    """The score of a mean key is the mean of the scores of its keys."""
    starts = np.arange(0, scores.shape[-1], size)
    seen = np.add.reduceat(visible, starts, axis=-1, dtype=np.int64)
    means = np.add.reduceat(np.where(visible, scores, 0.0), starts, axis=-1) / np.maximum(seen, 1)
    chosen = _top_k(means, seen > 0, k)
    return visible & np.repeat(chosen, size, axis=-1)[..., : scores.shape[-1]]


def _threshold(scores: Array, visible: Bools, x: float) -> Bools:
    return visible & ((scores >= x) | np.isnan(scores))


RULES: dict[str, Callable[..., Bools]] = {
    "top_k": _top_k,
    "top_k_blocks": _top_k_blocks,
    "threshold": _threshold,
}
