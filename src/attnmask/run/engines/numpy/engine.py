"""The oracle: attention in NumPy with float64, as plain as its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.grid import dense
from attnmask.run.described import whole_work
from attnmask.run.request import Request, Work

Array = NDArray[Any]
Doubles = NDArray[np.float64]


def refusal(request: Request) -> str | None:
    """Nothing is refused."""
    return None


def cost(request: Request) -> float:
    """Of all pairs; there is no other engine."""
    return float(request.pairs)


def work(request: Request) -> Work:
    """Everything is computed."""
    return whole_work(request, "the formula")


def attention(q: Array, k: Array, v: Array, mask: Mask, frame: Frame, scale: float) -> Array:
    """softmax(scale * q k^T) v over the visible keys, computed in float64, given in the number format of q."""
    return _as_given(_weights(q, k, mask, frame, scale) @ _per_query_head(v, q), q)


def attention_weights(q: Array, k: Array, mask: Mask, frame: Frame, scale: float) -> Array:
    """The softmax alone."""
    return _as_given(_weights(q, k, mask, frame, scale), q)


def gradients(
    q: Array, k: Array, v: Array, grad_output: Array, mask: Mask, frame: Frame, scale: float
) -> tuple[Doubles, Doubles, Doubles]:
    """The gradients of q, k and v for a gradient of the output, in float64."""
    weights = _weights(q, k, mask, frame, scale)
    grad = np.asarray(grad_output, np.float64)
    grad_weights = grad @ _per_query_head(v, q).swapaxes(2, 3)
    grad_scores = weights * (grad_weights - (grad_weights * weights).sum(-1, keepdims=True))
    grad_q = scale * grad_scores @ _per_query_head(k, q)
    grad_k = scale * grad_scores.swapaxes(2, 3) @ np.asarray(q, np.float64)
    return grad_q, _per_key_head(grad_k, k), _per_key_head(weights.swapaxes(2, 3) @ grad, v)


def _weights(q: Array, k: Array, mask: Mask, frame: Frame, scale: float) -> Doubles:
    scores = scale * (np.asarray(q, np.float64) @ _per_query_head(k, q).swapaxes(2, 3))
    scores = np.where(dense(mask, frame), scores, -np.inf)
    largest = scores.max(-1, keepdims=True)
    raised = np.exp(scores - np.where(largest == -np.inf, 0.0, largest))
    total = raised.sum(-1, keepdims=True)
    weights: Doubles = raised / np.where(total == 0.0, 1.0, total)  # total is 0 in empty rows only
    return weights


def _per_query_head(array: Array, q: Array) -> Doubles:
    """Keys or values repeated, (batch, heads, kv_len, dim)."""
    return np.repeat(np.asarray(array, np.float64), q.shape[1] // array.shape[1], axis=1)


def _per_key_head(grad: Doubles, like: Array) -> Doubles:
    """Gradients of the query heads summed for the key head that they share."""
    batch, heads, length, dim = like.shape
    total: Doubles = grad.reshape(batch, heads, -1, length, dim).sum(2)
    return total


def _as_given(result: Doubles, q: Array) -> Array:
    return result.astype(q.dtype) if np.issubdtype(q.dtype, np.floating) else result
