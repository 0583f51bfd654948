"""torch's own attention kernels: one call where they know the mask, a few over what is visible, or one with a mask.

Empty rows are kept from averaging or NaN.
"""

from __future__ import annotations

from operator import index
from typing import Any

import torch

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.selection import Selection
from attnmask.exchange.common import plain_in
from attnmask.lower.compiled import (
    Data,
    compiling,
    constant_when_compiled,
    data_of,
    frame_of,
    mask_of,
    sizes_of,
)
from attnmask.run.engines.torch import blocks, edges
from attnmask.run.engines.torch.dense import seen_by
from attnmask.run.engines.torch.plan import Plan
from attnmask.run.engines.torch.sdpa import scaled_dot_product_attention
from attnmask.run.engines.torch.ways import Way, cheapest, planned
from attnmask.run.request import Request, Work, native_work, request_of, whole_work
from attnmask.run.selected import torch as selected
from attnmask.run.torch_careful import careful

SDPA = "scaled_dot_product_attention"
FEW_ROWS = 64  # query rows, up to which a mask may be repeated for each head


def refusal(request: Request) -> str | None:
    """Nothing is refused."""
    return None


def cost(request: Request) -> float:
    """Of the cheapest way; on a GPU, see ``run/costs.py``."""
    return cheapest(request).cost


def work(request: Request) -> Work:
    """What ``attention`` calls, outside of torch.compile."""
    way, q_len, kv_len = cheapest(request), request.frame.q_len, request.frame.kv_len
    if way.name in ("plain", "causal"):
        return native_work(request, SDPA, causal=way.name == "causal")
    if way.keys is not None:
        keys = len(range(*way.keys.indices(kv_len)))
        return Work(1, request.copies * q_len * keys, f"1 call of {SDPA} without a mask, for {keys:,} keys")
    found = planned(request)
    return whole_work(request, SDPA) if found is None else _planned_work(request, found)


def _planned_work(request: Request, found: Plan) -> Work:
    copies = request.copies // (found.frame.batch * found.frame.heads)
    if found.edges is not None:
        words = f"{request.copies:,} sparse products over the visible pairs alone"
        return Work(request.copies, found.computed * copies, words)
    masked = sum(block.hidden is not None for block in found.blocks)
    calls = len(found.blocks)
    words = f"{calls:,} call{'' if calls == 1 else 's'} of {SDPA}: row blocks, {masked:,} of them with a small mask"
    return Work(calls, found.computed * copies, words if calls else "nothing is visible")


@constant_when_compiled
def _plain_for_compiler(mask: Data, frame: Data) -> str:
    return plain_in(mask_of(mask), frame_of(frame))


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The cheapest exact way to run the mask."""
    if not scale > 0:  # torch's kernel for CPUs scales the -inf of its is_causal: 0 times that is NaN
        q, scale = (-q, -scale) if scale < 0 else (q * 0.0, 1.0)
    return careful(lambda q, k, v: _attend(q, k, v, mask, frame, scale), q, k, v)


def _attend(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    grouped = index(q.shape[1]) != index(k.shape[1])  # index() because torch.compile may hold sizes open
    if compiling():
        known = _plain_for_compiler(data_of(mask), sizes_of(frame))
        # torch.jit.trace and make_fx guard no length; with a mask, another one is an error
        unguarded = known == "causal" and not torch.compiler.is_compiling()
        way = Way("dense" if known == "other" or unguarded else known, 0.0)
    else:
        request = request_of("torch", mask, frame, {"q": q, "k": k, "v": v})
        way = cheapest(request)
    if way.name in ("blocks", "edges"):
        compute = blocks if way.name == "blocks" else edges
        return compute.attend(q, k, v, planned(request), scale)
    if way.name == "dense":
        return _masked(q, k, v, mask, frame, scale, grouped)
    if way.keys is not None:
        k, v = k[:, :, way.keys], v[:, :, way.keys]
    flag = {"is_causal": True} if way.name == "causal" else {}
    if grouped and not flag and _folds(q):
        return _unfolded(scaled_dot_product_attention(_folded(q, k), k, v, scale=scale), q)
    return scaled_dot_product_attention(q, k, v, scale=scale, enable_gqa=grouped, **flag)


def _masked(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float, grouped: bool) -> Any:
    seen, empty = seen_by(mask, frame, q, q.dtype)
    if grouped and q.is_cuda:  # the one kernel there that shares keys between heads takes no mask
        k, v = (array.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for array in (k, v))
        grouped = False
    if grouped and _folds(q):
        mask_rows = seen.expand(-1, q.shape[1], -1, -1)
        output = scaled_dot_product_attention(_folded(q, k), k, v, attn_mask=_folded(mask_rows, k), scale=scale)
        output = _unfolded(output, q)
    else:
        output = scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale, enable_gqa=grouped)
    return output if empty is None else torch.where(empty, 0.0, output)


def _folds(q: Any) -> bool:
    """Whether heads that share keys become rows of one head: SDPA for CPUs reads the keys once for each of its heads."""
    return not q.is_cuda and index(q.shape[2]) <= FEW_ROWS


def _folded(array: Any, k: Any) -> Any:
    """(batch, heads, q_len, n) as (batch, kv_heads, heads / kv_heads * q_len, n)."""
    return array.reshape(array.shape[0], k.shape[1], -1, array.shape[3])


def _unfolded(output: Any, q: Any) -> Any:
    return output.reshape(*q.shape[:3], output.shape[3])


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, Any]:
    """By the formula, in chunks of rows: what rows take without a rule is all they see."""
    return selected.attention_lse(q, k, v, Selection(mask, ()), frame, scale)


def attention_weights(q: Any, k: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The softmax alone, likewise, with all weights in memory."""
    return selected.attention_weights(q, k, Selection(mask, ()), frame, scale)
