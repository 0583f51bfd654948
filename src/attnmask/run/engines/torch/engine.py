"""torch's own attention kernels: one call where they know the mask, a few over what is visible, or one with a mask.

Empty rows are kept from averaging or NaN.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

import torch

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.selection import Selection
from attnmask.exchange.common import plain_in
from attnmask.lower.arrays import faked
from attnmask.run.compiled import (
    Data,
    compiling,
    constant_when_compiled,
    data_of,
    frame_of,
    mask_of,
    sizes_of,
)
from attnmask.run.described import native_work, planned_work, whole_work
from attnmask.run.engines.torch import call_pieces as torch_pieces
from attnmask.run.engines.torch import edges as torch_edges
from attnmask.run.engines.torch.dense import seen_by
from attnmask.run.engines.torch.plan import Plan, choice
from attnmask.run.engines.torch.sdpa import scaled_dot_product_attention
from attnmask.run.request import Request, Work
from attnmask.run.selected import torch as selected

LIBRARY = "torch"

SDPA = "scaled_dot_product_attention"


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
    seen, empty = seen_by(mask, frame, q, q.dtype)
    if grouped and q.is_cuda:  # the one kernel there that shares keys between heads takes no mask
        k, v = (array.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for array in (k, v))
        grouped = False
    output = scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=grouped)
    return output if empty is None else torch.where(empty, 0.0, output)


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, Any]:
    """By the formula, in chunks of rows: what rows take without a rule is all they see."""
    return selected.attention_lse(q, k, v, Selection(mask, ()), frame, scale)


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
    visible, empty = seen_by(mask, frame, q, torch.bool)
    keys = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = (q * scale) @ keys.transpose(2, 3)
    weights = torch.softmax(torch.where(visible, scores, -math.inf), dim=-1)
    return weights if empty is None else torch.where(empty, 0.0, weights)
