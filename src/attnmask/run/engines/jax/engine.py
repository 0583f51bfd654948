"""JAX's own ``dot_product_attention``, kept from averaging where a row sees nothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.selection import Selection
from attnmask.exchange.common import plain_in
from attnmask.lower.grid import dense_jax
from attnmask.run.engines.jax import tiles as jax_tiles
from attnmask.run.jax_careful import careful
from attnmask.run.request import Request, Work, native_work, whole_work
from attnmask.run.selected import jax as selected

FUNCTION = "jax.nn.dot_product_attention"


def refusal(request: Request) -> str | None:
    """Nothing is refused."""
    return None


def cost(request: Request) -> float:
    """Of all pairs; there is no other engine."""
    return float(request.pairs)


def work(request: Request) -> Work:
    """What ``attention`` calls."""
    mask, frame = request.mask, request.frame
    known = plain_in(mask, frame)
    if known != "other":
        return native_work(request, FUNCTION, causal=known == "causal")
    if jax_tiles.worth(mask, frame):
        return jax_tiles.work(request)
    return whole_work(request, FUNCTION)


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """XLA's attention; causal and full attention need no mask array.

    XLA multiplies hidden values by 0: NaN or infinity in them reaches all rows, unless under ``nan_safe``.
    """
    return careful(lambda q, k, v: _attend_under(q, k, v, mask, frame, scale), q, k, v)


def _attend_under(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    known = plain_in(mask, frame)
    if known != "other":
        return _attend(q, k, v, scale, is_causal=known == "causal")
    if jax_tiles.worth(mask, frame):
        return jax_tiles.attend(q, k, v, mask, frame, scale)
    visible, empty = _visible(mask, frame)
    return jnp.where(empty, 0.0, _attend(q, k, v, scale, mask=visible))


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, Any]:
    """By the formula, in chunks of rows: what rows take without a rule is all they see."""
    return selected.attention_lse(q, k, v, Selection(mask, ()), frame, scale)


def attention_weights(q: Any, k: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The softmax alone, likewise, with all weights in memory."""
    return selected.attention_weights(q, k, Selection(mask, ()), frame, scale)


def _visible(mask: Mask, frame: Frame) -> tuple[Any, Any]:
    """The mask with empty rows opened, and which rows those are (..., q_len, 1): JAX averages over an empty row."""
    visible = dense_jax(mask, frame)
    empty = ~visible.any(-1, keepdims=True)
    return visible | empty, empty


def _attend(q: Any, k: Any, v: Any, scale: float, **mask: Any) -> Any:
    """JAX wants (batch, length, heads, dim) and one dim for all; added zeros change no score."""
    dim = max(q.shape[3], v.shape[3])
    q, k, value = (_widened(array.swapaxes(1, 2), dim) for array in (q, k, v))
    output = jax.nn.dot_product_attention(q, k, value, scale=scale, **mask)
    return output.swapaxes(1, 2)[..., : v.shape[3]]


def _widened(array: Any, dim: int) -> Any:
    missing = dim - array.shape[3]
    return jnp.pad(array, ((0, 0), (0, 0), (0, 0), (0, missing))) if missing else array
