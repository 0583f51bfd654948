"""Evaluate a mask over all positions of a frame, in any library, on any device."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import evaluate

STRIP_PAIRS = 1 << 22  # pairs evaluated at once where no dense result is asked for


def over(mask: Mask, frame: Fitted, arange: Any, rows: tuple[int, int] | None = None) -> Any:
    """The mask at every position of a fitted frame (or of some of its rows), from a library's ``arange``.

    The result broadcasts to (batch, heads, q_len, kv_len); axes along which nothing varies may have size 1.
    """
    first, last = rows or (0, frame.q_len)
    return evaluate(
        mask.node,
        arange(frame.batch)[:, None, None, None],
        arange(frame.heads)[None, :, None, None],
        (arange(last - first) + (frame.q_start + first))[None, None, :, None],
        arange(frame.kv_len)[None, None, None, :],
    )


def dense(mask: Mask, frame: Frame | int) -> NDArray[np.bool_]:
    """All positions as a boolean array (batch, heads, q_len, kv_len)."""
    fitted = fit(mask, frame)
    return _full(over(mask, fitted, np.arange), fitted.shape)


def dense_torch(mask: Mask, frame: Frame | int, device: Any) -> Any:
    """The mask as a boolean torch tensor on a device, of a shape that broadcasts to the dense one (always 4-D)."""
    torch = sys.modules["torch"]
    value = over(mask, fit(mask, frame), lambda size: torch.arange(size, device=device))
    return value if hasattr(value, "ndim") else torch.full((1, 1, 1, 1), value, device=device)


def dense_jax(mask: Mask, frame: Frame | int) -> Any:
    """The mask as a boolean JAX array of a shape that broadcasts to the dense one (always 4-D)."""
    jnp = sys.modules["jax.numpy"]
    value = over(mask, fit(mask, frame), jnp.arange)
    return value if hasattr(value, "ndim") else jnp.full((1, 1, 1, 1), value)


def _full(value: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    array = np.asarray(value, dtype=bool)
    return array if array.shape == shape else np.array(np.broadcast_to(array, shape))  # writable, and the caller's own


def _strips(mask: Mask, frame: Frame | int) -> Iterator[NDArray[np.bool_]]:
    """The dense mask in strips of rows, so that no array of q_len x kv_len is made."""
    fitted = fit(mask, frame)
    outer = (fitted.batch, fitted.heads)
    step = max(1, STRIP_PAIRS // (outer[0] * outer[1] * fitted.kv_len))
    for first in range(0, fitted.q_len, step):
        last = min(first + step, fitted.q_len)
        yield _full(over(mask, fitted, np.arange, (first, last)), (*outer, last - first, fitted.kv_len))


def count(mask: Mask, frame: Frame | int) -> int:
    """Visible pairs of the dense mask."""
    return sum(int(np.count_nonzero(strip)) for strip in _strips(mask, frame))


def density(mask: Mask, frame: Frame | int) -> float:
    """Visible pairs over all pairs."""
    fitted = fit(mask, frame)
    return count(mask, frame) / math.prod(fitted.shape)


def empty_rows(mask: Mask, frame: Frame | int) -> NDArray[np.bool_]:
    """Rows without a visible key: boolean (batch, heads, q_len)."""
    return np.concatenate([~strip.any(-1) for strip in _strips(mask, frame)], axis=2)
