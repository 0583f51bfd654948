"""``torch.nn.MultiheadAttention``: True = hidden, in attn_mask and in key_padding_mask."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_
from typing import Any

import numpy as np

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.language import Apply
from attnmask.define.mask import Mask
from attnmask.define.masks.padding import padding
from attnmask.errors import FrameworkError
from attnmask.exchange.common import (
    EVERYTHING,
    as_numpy,
    checked_keys,
    checked_shape,
    exported_shape,
    mask_of_array,
    meant,
    plain_in,
    refuse_empty_rows,
    visible_of_bool_or_bias,
)

NAME = "torch.mha"


def write(
    mask: Mask, frame: Frame, *, num_heads: int | None = None, device: Any = "cpu", empty_rows: str = "refuse"
) -> dict[str, Any]:
    """``key_padding_mask`` (batch, kv_len) for what depends on batch and key, ``attn_mask`` for the rest.

    Args:
        mask: the mask; the parts that a top-level ``&`` joins go to one argument or the other.
        frame: where it is seen.
        num_heads: the heads of the module, for an attn_mask that depends on the batch or the head; or the
            heads of the frame.
        device: where the tensors lie.
        empty_rows: ``"keep"`` accepts NaN in rows that see nothing.
    """
    mask = meant(mask, frame)
    refuse_empty_rows(mask, frame, empty_rows, "NaN in MultiheadAttention")
    keys, rest = _split(mask, frame)
    batch = fit(mask, frame).batch
    return {
        "attn_mask": None if rest is None else _tensor(_hidden_pairs(rest, frame, num_heads, batch), device),
        "key_padding_mask": None if keys is None else _tensor(~keys.dense(frame)[:, 0, 0], device),
    }


def _tensor(array: Any, device: Any) -> Any:
    import torch

    return torch.tensor(array, device=device)


def _split(mask: Mask, frame: Frame) -> tuple[Mask | None, Mask | None]:
    """The parts of a mask that depend on batch and key only, and the others."""
    node = mask.node
    parts = [Mask(part) for part in node.args] if isinstance(node, Apply) and node.op == "&" else [mask]
    keys = [part for part in parts if part.depends_on <= {"b", "k"}]
    if not any("b" in part.depends_on for part in keys):
        return None, None if plain_in(mask, frame) == "everything" else mask
    rest = [part for part in parts if part not in keys]
    return reduce(and_, keys), reduce(and_, rest) if rest else None


def _hidden_pairs(mask: Mask, frame: Frame, num_heads: int | None, batch: int) -> Any:
    exported_shape(mask, frame)
    hidden = ~mask.dense(frame)
    if not mask.depends_on & {"b", "h"}:
        return hidden[0, 0]
    heads = num_heads or frame.heads or (hidden.shape[1] if "h" in mask.depends_on else None)
    if heads is None or ("b" not in mask.depends_on and batch == 1 and frame.batch is None):
        raise FrameworkError(
            "an attn_mask that differs per batch or head is (batch * num_heads, q_len, kv_len)",
            f"{mask} in {frame}, num_heads={num_heads}",
            "Write Frame(..., batch=..., heads=...), or num_heads=...",
        )
    if hidden.shape[1] not in (1, heads):
        raise FrameworkError(
            "num_heads is that of the mask",
            f"num_heads={heads} for {mask} with {hidden.shape[1]} heads",
            "Leave it out",
        )
    shape = (max(batch, frame.batch or 1), heads, *hidden.shape[2:])
    return np.broadcast_to(hidden, shape).reshape(-1, *hidden.shape[2:])


def read(value: Any, *, q_start: int = 0, num_heads: int | None = None, key_padding: bool = False) -> Mask:
    """The mask that the module applies: what neither argument hides.

    Args:
        value: an attn_mask, or the keyword arguments.
        q_start: the absolute position of the first row.
        num_heads: the heads of the module, for a 3-D attn_mask.
        key_padding: the bare tensor is a key_padding_mask.
    """
    if not isinstance(value, Mapping):
        value = {"key_padding_mask" if key_padding else "attn_mask": value}
    checked_keys(value, ("attn_mask", "key_padding_mask", "is_causal"), ("need_weights", "average_attn_weights"))
    if value.get("is_causal"):
        raise FrameworkError(
            "is_causal is a hint in MultiheadAttention: some of its paths obey it and some the attn_mask",
            "is_causal=True",
            "Leave it out; the attn_mask says the same",
        )
    attn_mask, key_padding_mask = value.get("attn_mask"), value.get("key_padding_mask")
    parts = [] if attn_mask is None else [_pairs(as_numpy(attn_mask), q_start, num_heads)]
    parts += [] if key_padding_mask is None else [_keys(as_numpy(key_padding_mask))]
    return reduce(and_, parts) if parts else EVERYTHING


def _visible(array: Any, where: str) -> Any:
    return ~array if array.dtype == bool else visible_of_bool_or_bias(array, where)


def _keys(array: Any) -> Mask:
    fix = "Give one truth value per sequence and key, True = padding"
    checked_shape(array, {1: "(kv_len,)", 2: "(batch, kv_len)"}, "a key_padding_mask", fix)
    return padding(valid=_visible(array, "a key_padding_mask"))


def _pairs(array: Any, q_start: int, num_heads: int | None) -> Mask:
    axes = {2: "(q_len, kv_len)", 3: "(batch * num_heads, q_len, kv_len)"}
    checked_shape(array, axes, "an attn_mask", "Merge the batch and heads axes: mask.flatten(0, 1)")
    visible = _visible(array, "an attn_mask")
    if visible.ndim == 2:
        return mask_of_array(visible, q_start)
    if num_heads is None or len(visible) % num_heads:
        raise FrameworkError(
            "a 3-D attn_mask is (batch * num_heads, q_len, kv_len)",
            f"shape {visible.shape} with num_heads={num_heads}",
            "Write am.read(..., 'torch.mha', num_heads=...)",
        )
    return mask_of_array(visible.reshape(-1, num_heads, *visible.shape[1:]), q_start)
