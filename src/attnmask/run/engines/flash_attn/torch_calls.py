"""FlashAttention's two functions called for a mask, with torch tensors (batch, heads, length, dim)."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.exchange.sequences import Aligned, Packed, flash_calls
from attnmask.run.torch_tensors import autocast


def attend(
    flash_attn: Any, q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float, with_lse: bool
) -> tuple[Any, Any]:
    """The output (batch, heads, q_len, dim) and, if asked for, the log-sum-exp; ``flash_attn`` is the package."""
    q, k, v = (autocast(array).transpose(1, 2) for array in (q, k, v))
    calls = flash_calls(mask, frame, q.shape[0])
    if isinstance(calls, Aligned):
        keys, values = k[:, : calls.keys], v[:, : calls.keys]
        output, lse = _call(flash_attn.flash_attn_func, (q, keys, values), calls, scale, with_lse)
    else:
        tensors = _tensors(mask, frame, q.shape[0], q.device)
        output, lse = _packed(flash_attn.flash_attn_varlen_func, (q, k, v), calls, tensors, scale, with_lse)
    return output.transpose(1, 2), lse


def _call(
    function: Any, arrays: tuple[Any, ...], call: Aligned | Packed, scale: float, with_lse: bool
) -> tuple[Any, Any]:
    asked = {"return_attn_probs": True} if with_lse else {}
    result = function(*arrays, softmax_scale=scale, causal=call.window[1] == 0, window_size=call.window, **asked)
    if not with_lse:
        return result, None
    lse = result[1].detach()  # FlashAttention has no gradients of it
    return result[0], lse.masked_fill(lse == math.inf, -math.inf)  # its sign for a row that sees nothing


def _packed(
    function: Any,
    arrays: tuple[Any, ...],
    calls: tuple[Packed, ...],
    tensors: list[tuple[Any, ...]],
    scale: float,
    with_lse: bool,
) -> tuple[Any, Any]:
    """Each call's rows put in their places; the others stay 0, and -inf."""
    flat = [array.flatten(0, 1) for array in arrays]
    output = torch.zeros_like(flat[0])
    lse = torch.full(output.shape[:2], -math.inf, device=output.device) if with_lse else None
    for call, (rows, keys, *edges) in zip(calls, tensors, strict=True):
        taken = [array if at is None else array[at] for array, at in zip(flat, (rows, keys, keys), strict=True)]
        lengths = (*edges, call.max_seqlen_q, call.max_seqlen_k)
        part, part_lse = _call(function, (*taken, *lengths), call, scale, with_lse)
        output = part if rows is None else output.index_copy(0, rows, part)
        if lse is not None:  # (heads, rows) since flash_attn 2.6
            lse[slice(None) if rows is None else rows] = part_lse.T.to(lse.dtype)
    output, lse = (None if array is None else array.unflatten(0, arrays[0].shape[:2]) for array in (output, lse))
    return output, None if lse is None else lse.transpose(1, 2)


@functools.lru_cache(maxsize=64)
def _tensors(mask: Mask, frame: Frame, batch: int, device: torch.device) -> list[tuple[Any, ...]]:
    """The arrays of each packed call on a device: its rows, its keys, and where its sequences end among both."""
    calls = flash_calls(mask, frame, batch)
    with torch.inference_mode(False):  # tensors made in inference mode must still serve training
        return [
            tuple(None if array is None else torch.tensor(array, device=device) for array in call[:4])
            for call in calls
            if isinstance(call, Packed)
        ]
