"""torch's own ``scaled_dot_product_attention``, kept from averaging or NaN where a row sees nothing."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.exchange.common import is_causal_from_start
from attnmask.lower.grid import dense_torch

LIBRARY = "torch"


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The fused kernel that torch chooses; causal and full attention need no mask array."""
    grouped = q.shape[1] != k.shape[1]
    if is_causal_from_start(mask, frame):
        return scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
    if mask == everything():
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
    visible = dense_torch(mask, frame, q.device)
    empty = ~visible.any(-1, keepdim=True)
    return (visible | empty).expand(-1, -1, frame.q_len, frame.kv_len), empty
