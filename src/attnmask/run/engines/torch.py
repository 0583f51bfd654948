"""torch's own attention kernels: one call where they know the mask, a few over what is visible, or one with a mask.

Empty rows are kept from averaging or NaN.
"""

from __future__ import annotations

import functools
import math
from operator import index
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.exchange.common import plain_in
from attnmask.lower.arrays import faked
from attnmask.lower.grid import dense_torch
from attnmask.run import torch_edges, torch_pieces
from attnmask.run.compiled import (
    Data,
    compiling,
    constant_when_compiled,
    data_of,
    frame_of,
    mask_of,
    opaque,
    sizes_of,
)
from attnmask.run.described import native_work, planned_work, whole_work
from attnmask.run.plan import Plan, choice
from attnmask.run.request import Request, Work

LIBRARY = "torch"

SDPA = "scaled_dot_product_attention"
KEPT = 1 << 18  # pairs of a mask that is kept as a tensor between calls


def refusal(request: Request) -> str | None:
    """Nothing is refused."""
    return None


def work(request: Request) -> Work:
    """What ``attention`` calls, outside of torch.compile."""
    mask, frame = request.mask, request.frame
    known = plain_in(mask, frame)
    if known != "other":
        return native_work(request, SDPA, causal=known == "causal")
    found = choice(mask, frame, request.batch, request.heads, request.setting.grad)
    if found is not None and (found.single is not None or _in_pieces(request)):
        return planned_work(request, found, SDPA)
    return whole_work(request, SDPA)


@constant_when_compiled
def _plain_for_compiler(mask: Data, frame: Data) -> str:
    return plain_in(mask_of(mask), frame_of(frame))


def _in_pieces(request: Request) -> bool:
    """Whether ``torch_pieces.supported`` will take the arrays of a request."""
    setting = request.setting
    dtypes = {str(dtype) for dtype in torch_pieces.DTYPES}
    same_dim, known = request.dim == request.dim_v, f"torch.{setting.dtype}" in dtypes
    return setting.device == "cpu" and same_dim and known and not setting.transformed


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The fastest exact way to run the mask; see ``run/plan``."""
    grouped = index(q.shape[1]) != index(k.shape[1])  # index() because torch.compile may hold sizes open
    known = _plain_for_compiler(data_of(mask), sizes_of(frame)) if compiling() else plain_in(mask, frame)
    if known != "other":
        flag = {"is_causal": True} if known == "causal" else {}
        return scaled_dot_product_attention(q, k, v, scale=scale, enable_gqa=grouped, **flag)
    training = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    found = None if compiling() or faked(q) else choice(mask, frame, q.shape[0], q.shape[1], training)
    if found is not None and found.single is not None:
        return _one_call(q, k, v, found, scale)
    if found is not None and torch_pieces.supported(q, k, v):
        way = torch_pieces if found.edges is None else torch_edges
        return way.attend(q, k, v, found, scale)
    seen, empty = _seen(mask, frame, q, q.dtype)
    if grouped and q.is_cuda:  # the one kernel there that shares keys between heads takes no mask
        k, v = (array.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for array in (k, v))
        grouped = False
    output = scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=grouped)
    return output if empty is None else torch.where(empty, 0.0, output)


def _one_call(q: Any, k: Any, v: Any, plan: Plan, scale: float) -> Any:
    """All rows see one run of keys, or are causal in it; one row alone may see every n-th key of a run."""
    piece = plan.single
    assert piece is not None
    if piece.keys < k.shape[2]:
        seen = slice(piece.k_start, piece.k_start + (piece.keys - 1) * piece.spacing + 1, piece.spacing)
        k, v = k[:, :, seen], v[:, :, seen]
    grouped = index(q.shape[1]) != index(k.shape[1])  # index() because torch.compile may hold sizes open
    return scaled_dot_product_attention(q, k, v, is_causal=piece.causal, scale=scale, enable_gqa=grouped)


def attention_weights(q: Any, k: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The softmax alone, with all scores in memory."""
    visible, empty = _seen(mask, frame, q, torch.bool)
    keys = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = (q * scale) @ keys.transpose(2, 3)
    weights = torch.softmax(torch.where(visible, scores, -math.inf), dim=-1)
    return weights if empty is None else torch.where(empty, 0.0, weights)


def _seen(mask: Mask, frame: Frame, q: Any, dtype: torch.dtype) -> tuple[Any, Any]:
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
