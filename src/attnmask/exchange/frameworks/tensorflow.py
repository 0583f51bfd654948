"""``scaled_dot_product_attention(q, k, v, mask)`` of TensorFlow's tutorial: 1 = hidden, times -1e9, added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import FrameworkError
from attnmask.exchange.common import (
    EVERYTHING,
    as_numpy,
    checked_keys,
    checked_shape,
    exported_shape,
    mask_of_array,
    meant,
    refuse_empty_rows,
)
from attnmask.lower.fills import format_of

NAME = "tensorflow"


def write(mask: Mask, frame: Frame, *, dtype: Any = "float32", empty_rows: str = "refuse") -> dict[str, Any]:
    """``mask``: a NumPy array (batch, heads, q_len, kv_len) of 0 (visible) and 1 (hidden); axes may have size 1.

    Args:
        mask: the mask.
        frame: where it is seen.
        dtype: that of the scores, float32, float64, or bfloat16 (as float32).
        empty_rows: ``"keep"`` accepts that a row that sees nothing is uniform over all keys, hidden ones included.
    """
    mask = meant(mask, frame)
    storage = format_of(dtype).storage
    if storage is np.float16:
        raise FrameworkError(
            "the formula multiplies by -1e9, which float16 turns into -inf: 0 times -inf is NaN where it is visible",
            f"dtype {dtype!r}",
            "Compute the scores in float32, or use am.attention",
        )
    refuse_empty_rows(mask, frame, empty_rows, "the mean of all values, hidden ones included")
    rows = exported_shape(mask, frame, np.dtype(storage).itemsize)[2]
    return {"mask": (~mask.dense(frame)[:, :, :rows]).astype(storage)}


def read(value: Any, *, q_start: int = 0) -> Mask:
    """The mask of numbers 0 (visible) and 1 (hidden), (q_len, kv_len) or 4-D, as (batch, 1, 1, kv_len).

    Args:
        value: the array, or the keyword arguments.
        q_start: the absolute position of the first row.
    """
    if isinstance(value, Mapping):
        checked_keys(value, ("mask",))
        value = value.get("mask")
    if value is None:
        return EVERYTHING
    array = as_numpy(value)
    fix = "Name all four axes: mask[:, None] if the first axis is the batch, mask[:, None, None, :] for (batch, kv_len)"
    checked_shape(array, {2: "(q_len, kv_len)", 4: "(batch, heads, q_len, kv_len)"}, "the mask", fix)
    hidden = array == 1
    if not np.all(hidden | (array == 0)):
        raise FrameworkError(
            "the mask is 0 (visible) or 1 (hidden): the formula itself multiplies it by -1e9",
            f"values from {array.min():g} to {array.max():g}, shape {array.shape}",
            "Give the mask before it is multiplied",
        )
    return mask_of_array(~hidden, q_start)
