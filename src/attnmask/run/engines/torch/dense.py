"""A mask as a tensor for torch's kernels, empty rows opened; kept between calls, and told to torch.compile by a number."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import faked
from attnmask.lower.grid import dense_torch
from attnmask.run.compiled import Data, compiling, data_of, frame_of, mask_of, opaque, sizes_of

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
    with torch.inference_mode(False):  # a mask made in inference mode must still serve training
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
    """The mask while torch.compile is looking, of a shape that broadcasts to the dense one."""
    if not opaque(mask):
        return dense_torch(mask, frame, q.device)
    return _visible_in_graph(_number(data_of(mask), sizes_of(frame)), q.device)


# Tables cannot be traced: in a compiled graph the mask is a number, and one operation that computes it.
_COMPILED: list[tuple[Mask, Frame]] = []


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _number(mask: Data, sizes: Data) -> int:
    known = (mask_of(mask), frame_of(sizes))
    if known not in _COMPILED:
        _COMPILED.append(known)
    return _COMPILED.index(known)


@torch.library.custom_op("attnmask::visible", mutates_args=())  # type: ignore[untyped-decorator]
def _visible_in_graph(number: int, device: torch.device) -> torch.Tensor:
    mask, frame = _COMPILED[number]
    return dense_torch(mask, frame, device).expand(fit(mask, frame).shape).clone()


@_visible_in_graph.register_fake  # type: ignore[untyped-decorator]
def _shape_of_visible(number: int, device: torch.device) -> torch.Tensor:
    return torch.empty(fit(*_COMPILED[number]).shape, dtype=torch.bool, device=device)
