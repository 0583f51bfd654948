"""Evaluate a mask over all positions of a frame, in any library, on any device."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.bounds.width import too_wide
from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.language import Node
from attnmask.define.mask import LATER, Mask
from attnmask.lower.arrays import compiling, evaluate
from attnmask.lower.size import check_dense

CELLS = 1 << 22  # that are computed at once
JAX_BITS = 31  # beside the sign


def over(node: Node, frame: Fitted, arange: Any) -> Any:
    """A mask at every position of a fitted frame, from a library's ``arange``.

    The result broadcasts to (batch, heads, q_len, kv_len); axes along which nothing varies may have size 1.
    """
    return evaluate(
        node,
        arange(frame.batch)[:, None, None, None],
        arange(frame.heads)[None, :, None, None],
        (arange(frame.q_len) + frame.q_start)[None, None, :, None],
        arange(frame.kv_len)[None, None, None, :],
    )


def dense(mask: Mask, frame: Frame | int) -> NDArray[np.bool_]:
    """All positions as a boolean array (batch, heads, q_len, kv_len)."""
    fitted = fit(mask, frame)
    check_dense(mask, fitted)
    rows = max(1, CELLS // max(1, math.prod(fitted.shape) // fitted.q_len))
    if rows >= fitted.q_len:
        return _full(over(mask.node, fitted, np.arange), fitted.shape)
    visible = np.empty(fitted.shape, bool)
    for first in range(0, fitted.q_len, rows):  # numbers of all positions at once would be eight times as large
        part = fitted._replace(q_len=min(rows, fitted.q_len - first), q_start=fitted.q_start + first)
        visible[:, :, first : first + rows] = over(mask.node, part, np.arange)
    return visible


def dense_torch(mask: Mask, frame: Frame | int, device: Any) -> Any:
    """The mask as a boolean torch tensor on a device, of a shape that broadcasts to the dense one (always 4-D)."""
    torch, fitted = sys.modules["torch"], fit(mask, frame)
    if torch.device(device).type == "cpu" and math.prod(fitted.shape) > CELLS and not compiling():
        return torch.from_numpy(dense(mask, frame))
    value = over(mask.node, fitted, lambda size: torch.arange(size, device=device))
    return value if hasattr(value, "ndim") else torch.full((1, 1, 1, 1), value, device=device)


def dense_jax(mask: Mask, frame: Frame | int) -> Any:
    """The mask as a boolean JAX array of a shape that broadcasts to the dense one (always 4-D)."""
    jnp, fitted = sys.modules["jax.numpy"], fit(mask, frame)
    if not fits_jax(mask, fitted):
        return jnp.asarray(dense(mask, frame))
    value = over(mask.node, fitted, jnp.arange)
    return value if hasattr(value, "ndim") else jnp.full((1, 1, 1, 1), value)


def fits_jax(mask: Mask, frame: Fitted) -> bool:
    """Whether JAX computes all numbers of a mask: it has 32 bits, unless jax_enable_x64 gives it 64."""
    wide = sys.modules["jax"].config.jax_enable_x64
    return wide or too_wide(mask.node, frame.ranges, JAX_BITS) is None


def _full(value: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    array = np.asarray(value, dtype=bool)
    return array if array.shape == shape else np.array(np.broadcast_to(array, shape))  # writable, and the caller's own


LATER["dense"] = dense
