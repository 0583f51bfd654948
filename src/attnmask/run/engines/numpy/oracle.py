"""The oracle: attention in NumPy with float64, as plain as its formula, for blocks of rows and for tests.

A row sees what is visible to it and nothing else: NaN or infinity in a hidden key or value does not reach it. A row that
sees a key that is not finite is NaN; of a value that is not finite it gets the NaN or the infinity, number by number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.grid import dense

Array = NDArray[Any]
Doubles = NDArray[np.float64]


def attention(q: Array, k: Array, v: Array, mask: Mask, frame: Frame, scale: float) -> Array:
    """softmax(scale * q k^T) v over the visible keys, computed in float64, given in the number format of q."""
    return as_given(formula(q, k, v, dense(mask, frame), scale)[0], q)


def attention_weights(q: Array, k: Array, mask: Mask, frame: Frame, scale: float) -> Array:
    """The softmax alone."""
    return as_given(_softmax(q, k, dense(mask, frame), scale)[0], q)


def attention_lse(q: Array, k: Array, v: Array, mask: Mask, frame: Frame, scale: float) -> tuple[Array, Doubles]:
    """The output, and the logarithm of the sum of exp(score) over the visible keys of each row."""
    output, lse = formula(q, k, v, dense(mask, frame), scale)
    return as_given(output, q), lse


def formula(q: Array, k: Array, v: Array, visible: NDArray[np.bool_], scale: float) -> tuple[Doubles, Doubles]:
    """Output and log-sum-exp for what is visible (batch or 1, heads or 1, q_len, kv_len)."""
    weights, lse = _softmax(q, k, visible, scale)
    values = _per_query_head(v, q)
    if np.isfinite(values).all():
        return weights @ values, lse
    seen = [visible.astype(float) @ found > 0 for found in (values == np.inf, values == -np.inf, np.isnan(values))]
    with np.errstate(invalid="ignore"):  # both infinities are NaN
        beside = sum(np.where(rows, kind, 0.0) for rows, kind in zip(seen, (np.inf, -np.inf, np.nan), strict=True))
    return weights @ _finite(values) + beside, lse


def gradients(
    q: Array, k: Array, v: Array, grad_output: Array, mask: Mask, frame: Frame, scale: float
) -> tuple[Doubles, Doubles, Doubles]:
    """The gradients of q, k and v for a gradient of the output, in float64; NaN for rows that are not finite and what they see."""
    visible = dense(mask, frame)
    lost = ~np.isfinite(formula(q, k, v, visible, scale)[0]).all(-1, keepdims=True)
    queries, keys, values = _finite(q), _finite(_per_query_head(k, q)), _finite(_per_query_head(v, q))
    weights = _softmax(queries, keys, visible, scale)[0]
    grad = np.where(lost, 0.0, np.asarray(grad_output, np.float64))
    grad_weights = grad @ values.swapaxes(2, 3)
    grad_scores = scale * weights * (grad_weights - (grad_weights * weights).sum(-1, keepdims=True))
    seen = np.where(visible.swapaxes(2, 3) @ lost, np.nan, 0.0)  # by rows that are not finite
    grad_k, grad_v = grad_scores.swapaxes(2, 3) @ queries + seen, weights.swapaxes(2, 3) @ grad + seen
    return grad_scores @ keys + np.where(lost, np.nan, 0.0), _per_key_head(grad_k, k), _per_key_head(grad_v, v)


def as_given(result: Doubles, q: Array) -> Array:
    """In the number format of q, float64 for whole numbers."""
    return result.astype(q.dtype) if np.issubdtype(q.dtype, np.floating) else result


def _softmax(q: Array, k: Array, visible: NDArray[np.bool_], scale: float) -> tuple[Doubles, Doubles]:
    """The weights, 0 where hidden, and the log-sum-exp of each row."""
    with np.errstate(invalid="ignore"):
        scores = scale * (np.asarray(q, np.float64) @ _per_query_head(k, q).swapaxes(2, 3))
    scores = np.where(visible, np.where(np.isfinite(scores), scores, np.nan), -np.inf)
    largest = scores.max(-1, keepdims=True)
    raised = np.exp(scores - np.where(largest == -np.inf, 0.0, largest))
    total = raised.sum(-1, keepdims=True)
    weights: Doubles = np.where(visible, raised / np.where(total == 0.0, 1.0, total), 0.0)  # 0 in empty rows only
    with np.errstate(divide="ignore"):
        lse: Doubles = (largest + np.log(total))[..., 0]
    return weights, lse


def _finite(array: Array) -> Doubles:
    return np.where(np.isfinite(array), array, 0.0).astype(np.float64)


def _per_query_head(array: Array, q: Array) -> Doubles:
    """Keys or values repeated, (batch, heads, kv_len, dim)."""
    return np.repeat(np.asarray(array, np.float64), q.shape[1] // array.shape[1], axis=1)


def _per_key_head(grad: Doubles, like: Array) -> Doubles:
    """Gradients of the query heads summed for the key head that they share."""
    batch, heads, length, dim = like.shape
    total: Doubles = grad.reshape(batch, heads, -1, length, dim).sum(2)
    return total
