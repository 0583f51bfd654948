"""``torch.nn.functional.scaled_dot_product_attention``: True = visible; is_causal counts from the first key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
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
    visible_of_bool_or_bias,
)
from attnmask.lower.grid import dense_torch
from attnmask.lower.lowering import lower

NAME = "torch.sdpa"
BIAS_BYTES = 4  # of a number, about


def write(
    mask: Mask,
    frame: Frame,
    *,
    device: Any = "cpu",
    dtype: Any = None,
    fill: str = "-inf",
    empty_rows: str = "refuse",
) -> dict[str, Any]:
    """``is_causal``, or ``attn_mask``: boolean, or a bias if a dtype is given.

    Args:
        mask: the mask.
        frame: where it is seen.
        device: where the tensor lies.
        dtype: a floating-point dtype, a torch one or its name, for a bias that is added to the scores.
        fill: of the bias, ``"-inf"`` or ``"finite"``.
        empty_rows: for a bias with finite fill, ``"keep"`` accepts that empty rows are not zero. With booleans
            and with -inf they are.
    """
    mask = meant(mask, frame)
    if dtype is not None:
        return {"attn_mask": _bias(mask, frame, device, dtype, fill, empty_rows)}
    known = plain_in(mask, frame)
    if known != "other":
        return {"is_causal": True} if known == "causal" else {"attn_mask": None}
    import torch  # noqa: F401  # dense_torch finds it

    shape = exported_shape(mask, frame)
    return {"attn_mask": dense_torch(mask, frame, device).expand(shape).contiguous()}


def _bias(mask: Mask, frame: Frame, device: Any, dtype: Any, fill: str, empty_rows: str) -> Any:
    import torch

    if fill == "finite":
        refuse_empty_rows(mask, frame, empty_rows, "the mean of all values, or attention without a mask, under SDPA")
    exported_shape(mask, frame, BIAS_BYTES)
    bias = lower(mask, frame, "bias", dtype=dtype, fill=fill, empty_rows="keep")
    return torch.from_numpy(bias).to(device, getattr(torch, dtype) if isinstance(dtype, str) else dtype)


def read(value: Any, *, q_start: int = 0, q_len: int | None = None) -> Mask:
    """The mask that SDPA applies: boolean (True = visible) or a bias, (q_len, kv_len) or 4-D; or ``is_causal``.

    Args:
        value: the tensor, or the keyword arguments.
        q_start: the absolute position of the first row.
        q_len: the number of queries, to refuse a padding mask (batch, kv_len), which SDPA would take for
            (q_len, kv_len). Without it the rows of a 2-D mask are taken for queries, as SDPA does.
    """
    if not isinstance(value, Mapping):
        value = {"attn_mask": value}
    checked_keys(value, ("attn_mask", "is_causal"), ("dropout_p", "scale", "enable_gqa"))
    attn_mask, is_causal = value.get("attn_mask"), value.get("is_causal", False)
    if is_causal and attn_mask is not None:
        raise FrameworkError(
            "SDPA takes attn_mask or is_causal: with both, some of its kernels combine them and some refuse",
            f"attn_mask of shape {tuple(attn_mask.shape)} and is_causal=True",
            "Read attn_mask alone, and write & am.causal() if both are meant",
        )
    if attn_mask is None:
        return causal_from_start(q_start) if is_causal else EVERYTHING
    array = as_numpy(attn_mask)
    _check_axes(array, q_len)
    visible = array if array.dtype == bool else visible_of_bool_or_bias(array, "an attn_mask")
    return mask_of_array(visible, q_start)


def _check_axes(array: Any, q_len: int | None) -> None:
    fix = "Name all four axes: mask[:, None] if the first axis is the batch, mask[None] if it is the heads"
    axes = {2: "(q_len, kv_len)", 4: "(batch, heads, q_len, kv_len)"}
    checked_shape(array, axes, "an attn_mask", fix)
    if q_len is not None and array.shape[-2] not in (1, q_len):
        raise FrameworkError(
            f"an attn_mask is {' or '.join(axes.values())}",
            f"shape {array.shape} with q_len={q_len}",
            "If the first axis is the batch, write mask[:, None, None, :] or am.padding(valid=mask)",
        )
