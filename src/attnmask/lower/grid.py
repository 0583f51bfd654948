"""Evaluate a mask over all positions of a frame, in any library, on any device."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.language import Node
from attnmask.define.mask import LATER, Mask
from attnmask.lower.arrays import evaluate


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
    return _full(over(mask.node, fitted, np.arange), fitted.shape)


def dense_torch(mask: Mask, frame: Frame | int, device: Any) -> Any:
    """The mask as a boolean torch tensor on a device, of a shape that broadcasts to the dense one (always 4-D)."""
    torch = sys.modules["torch"]
    value = over(mask.node, fit(mask, frame), lambda size: torch.arange(size, device=device))
    return value if hasattr(value, "ndim") else torch.full((1, 1, 1, 1), value, device=device)


def dense_jax(mask: Mask, frame: Frame | int) -> Any:
    """The mask as a boolean JAX array of a shape that broadcasts to the dense one (always 4-D)."""
    jnp = sys.modules["jax.numpy"]
    value = over(mask.node, fit(mask, frame), jnp.arange)
    return value if hasattr(value, "ndim") else jnp.full((1, 1, 1, 1), value)


def _full(value: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    array = np.asarray(value, dtype=bool)
    return array if array.shape == shape else np.array(np.broadcast_to(array, shape))  # writable, and the caller's own


LATER["dense"] = dense
