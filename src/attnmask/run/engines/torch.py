"""torch's own ``scaled_dot_product_attention``, kept from averaging or NaN where a row sees nothing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.exchange.common import EVERYTHING, is_causal_from_start
from attnmask.lower.grid import dense_torch
from attnmask.run.compiled import Data, data_of, mask_of, opaque

LIBRARY = "torch"


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The fused kernel that torch chooses; causal and full attention need no mask array."""
    grouped = q.shape[1] != k.shape[1]
    if is_causal_from_start(mask, frame):
        return scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
    if mask == EVERYTHING:
        return scaled_dot_product_attention(q, k, v, scale=scale, enable_gqa=grouped)
    visible, empty = _visible(mask, frame, q)
    output = scaled_dot_product_attention(q, k, v, attn_mask=visible, scale=scale, enable_gqa=grouped)
    return torch.where(empty, 0.0, output)


def attention_weights(q: Any, k: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The softmax alone, with all scores in memory."""
    visible, empty = _visible(mask, frame, q)
    keys = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = (q * scale) @ keys.transpose(2, 3)
    weights = torch.softmax(torch.where(visible, scores, -math.inf), dim=-1)
    return torch.where(empty, 0.0, weights)


def _visible(mask: Mask, frame: Frame, q: Any) -> tuple[Any, Any]:
    """The mask (batch, heads, q_len, kv_len) with empty rows opened, and which rows those are (..., q_len, 1).

    What an empty row gives differs between the kernels of torch; a row that sees something is safe in all of them.
    """
    if opaque(mask):
        visible = _visible_in_graph(
            _number(data_of(mask), frame.q_len, frame.kv_len, frame.q_start, frame.batch, frame.heads), q.device
        )
    else:
        visible = dense_torch(mask, frame, q.device)
    empty = ~visible.any(-1, keepdim=True)
    return (visible | empty).expand(-1, -1, frame.q_len, frame.kv_len), empty


# Tables cannot be traced: in a compiled graph the mask is a number, and one operation that computes it.
_COMPILED: list[tuple[Mask, Frame]] = []


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _number(mask: Data, *frame: int | None) -> int:
    q_len, kv_len, q_start, batch, heads = frame
    known = (mask_of(mask), Frame(q_len, kv_len, q_start=q_start, batch=batch, heads=heads))  # type: ignore[arg-type]
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
