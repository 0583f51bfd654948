"""A mask as a tensor for torch's kernels, empty rows opened; kept between calls, and computed anew in programs."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import faked
from attnmask.lower.compiled import compiling, fitted
from attnmask.lower.grid import dense_torch, over

KEPT = 1 << 18  # pairs of a mask that is kept as a tensor between calls


def seen_by(mask: Mask, frame: Frame, q: Any, dtype: torch.dtype) -> tuple[Any, Any]:
    """The mask (batch, heads, q_len, kv_len) with empty rows opened, and which rows those are (..., q_len, 1).

    What an empty row gives differs between the kernels of torch; a row that sees something is safe in all of them.
    A small mask is kept between calls: in bool, or as the numbers of ``dtype`` that SDPA makes of it in each.
    """
    if compiling():
        return _opened(traced(mask, frame, q), frame)
    if frame.q_len * frame.kv_len <= KEPT and not faked(q):
        return _kept(mask, frame, q.device, dtype)
    return _opened(dense_torch(mask, frame, q.device), frame)


@functools.lru_cache(maxsize=64)
def _kept(mask: Mask, frame: Frame, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """True, or 0, where visible and False, or -inf, where hidden; empty rows are None where there are none."""
    # made in inference mode or inside torch.func, a mask must still serve elsewhere
    with torch.inference_mode(False), torch._C._DisableFuncTorch():
        visible, empty = _opened(dense_torch(mask, frame, device), frame)
        nothing = device.type != "meta" and not empty.any()
        seen = visible.contiguous()
        if dtype != torch.bool:
            seen = torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible, -math.inf)
        return seen, None if nothing else empty


def _opened(visible: Any, frame: Frame) -> tuple[Any, Any]:
    empty = ~visible.any(-1, keepdim=True)
    return (visible | empty).expand(-1, -1, frame.q_len, frame.kv_len), empty


def traced(mask: Mask, frame: Frame, q: Any) -> Any:
    """The mask while a program is recorded, of a shape that broadcasts to the dense one; its tables are constants."""
    value = over(mask.node, fitted(mask, frame), lambda size: torch.arange(size, device=q.device))
    return value if hasattr(value, "ndim") else _all(bool(value), q.device)


def _all(value: bool, device: torch.device) -> Any:
    # torch.jit.trace has no torch.full of bools
    return (torch.ones if value else torch.zeros)((1, 1, 1, 1), dtype=torch.bool, device=device)
