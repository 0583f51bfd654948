"""``jax.nn.dot_product_attention``: True = visible; is_causal and the window count from the first key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_
from typing import Any

import numpy as np

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask, q
from attnmask.define.masks.padding import padding
from attnmask.define.masks.window import window
from attnmask.define.parts.lengths import lengths_term
from attnmask.errors import FrameworkError
from attnmask.exchange.common import (
    EVERYTHING,
    as_numpy,
    causal_from_start,
    checked_keys,
    checked_shape,
    exported_shape,
    mask_of_array,
    meant,
    plain_in,
    refuse_empty_rows,
)

NAME = "jax.nn"
MASKING = ("mask", "is_causal", "local_window_size", "query_seq_lengths", "key_value_seq_lengths")


def write(mask: Mask, frame: Frame, *, empty_rows: str = "refuse") -> dict[str, Any]:
    """``is_causal``, or ``mask`` (batch, heads, q_len, kv_len), of size 1 where batch or heads make no difference.

    Args:
        mask: the mask.
        frame: where it is seen.
        empty_rows: ``"keep"`` accepts that a row that sees nothing gives the mean of all values.
    """
    mask = meant(mask, frame)
    known = plain_in(mask, frame)
    if known != "other":
        return {"is_causal": True} if known == "causal" else {"mask": None}
    refuse_empty_rows(mask, frame, empty_rows, "the mean of all values, hidden ones included, in JAX")
    import jax.numpy as jnp

    rows = exported_shape(mask, frame)[2]
    return {"mask": jnp.asarray(mask.dense(frame)[:, :, :rows])}


def read(value: Any, *, q_start: int = 0) -> Mask:
    """The mask that all masking arguments together make; JAX joins them with ``&``.

    Args:
        value: a boolean array (q_len, kv_len) or 4-D, or the keyword arguments.
        q_start: the absolute position of the first row.
    """
    if not isinstance(value, Mapping):
        value = {"mask": value}
    checked_keys(value, MASKING, ("scale", "implementation", "return_residual"))
    given = [name for name in MASKING if value.get(name) is not None and value[name] is not False]
    parts = [READERS[name](value[name], q_start) for name in given]
    return reduce(and_, parts) if parts else EVERYTHING


def _array(value: Any, q_start: int) -> Mask:
    array = as_numpy(value)
    fix = "Name all four axes: mask[:, None] if the first axis is the batch, mask[None] if it is the heads"
    checked_shape(array, {2: "(q_len, kv_len)", 4: "(batch, heads, q_len, kv_len)"}, "a mask", fix)
    if array.dtype != bool:
        raise FrameworkError(
            "a mask of jax.nn is boolean, True = visible",
            f"{array.dtype} of shape {array.shape}",
            "Write mask.astype(bool) if 1 means visible; a bias that is added is no mask",
        )
    return mask_of_array(array, q_start)


def _window(value: Any, q_start: int) -> Mask:
    left, right = (value, value) if np.ndim(value) == 0 else value
    return window(int(left), int(right)).shift(q=-q_start)


def _queries(value: Any, q_start: int) -> Mask:
    return (q < lengths_term(as_numpy(value))).shift(q=-q_start)


READERS: dict[str, Callable[[Any, int], Mask]] = {
    "mask": _array,
    "is_causal": lambda value, q_start: causal_from_start(q_start),
    "local_window_size": _window,
    "query_seq_lengths": _queries,
    "key_value_seq_lengths": lambda value, q_start: padding(as_numpy(value)),
}
