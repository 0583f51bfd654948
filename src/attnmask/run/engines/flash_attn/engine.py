"""The package flash_attn: causal, windows, packed documents and padding on a GPU, in its own window and varlen calls."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import AttnmaskError
from attnmask.exchange.sequences import Aligned, flash_calls
from attnmask.lower.forms import tiles
from attnmask.run.costs import costs_of
from attnmask.run.request import Request, Work

DTYPES = ("float16", "bfloat16")
LARGEST_DIM = 256


def refusal(request: Request) -> str | None:
    """Why FlashAttention cannot run a request; None if it can."""
    setting, dim = request.setting, request.dim
    reasons = {
        f"it runs on cuda, not on {setting.device}": setting.device != "cuda",
        f"it computes {' and '.join(DTYPES)}, not {setting.dtype}": setting.dtype not in DTYPES,
        f"dim and dim_v are one number up to {LARGEST_DIM}, not {dim} and {request.dim_v}": dim != request.dim_v
        or dim > LARGEST_DIM,
        "torch.func cannot look into it": setting.transformed,
        "its log-sum-exp has no gradients; call it under torch.no_grad()": setting.lse and setting.grad,
        "it does not run inside torch.compile": setting.compiled,
        "the package flash_attn is not installed, or cannot be imported": package() is None,
    }
    return next((reason for reason, applies in reasons.items() if applies), None) or _unknown_mask(request)


def _unknown_mask(request: Request) -> str | None:
    try:
        flash_calls(request.mask, request.frame, request.batch)
    except AttnmaskError as error:
        return f"it does not know the mask: {error.rule}; got {error.got}"
    return None


@functools.cache
def package() -> ModuleType | None:
    """flash_attn, if it can be imported: a build for another torch cannot."""
    try:
        return importlib.import_module("flash_attn")
    except ImportError:
        return None


def work(request: Request) -> Work:
    """Its calls, and the pairs in tiles that are not empty, which it skips as FlexAttention does."""
    calls = flash_calls(request.mask, request.frame, request.batch)
    found = tiles.lower(request.mask, request.frame)
    batch, heads = found.shape[:2]
    computed = int(found.runs.length.sum()) * tiles.DEFAULT**2 * request.copies // (batch * heads)
    if isinstance(calls, Aligned):
        return Work(1, computed, f"1 call of flash_attn_func, window_size={calls.window}")
    count = " and ".join(f"{len(call.cu_seqlens_q) - 1:,} sequences, window_size={call.window}" for call in calls)
    return Work(len(calls), computed, f"{_number(len(calls))} of flash_attn_varlen_func: {count}")


def cost(request: Request) -> float:
    """Of the tiles that are not empty."""
    return costs_of(request).flash * min(work(request).computed, request.pairs)


def _number(calls: int) -> str:
    return f"{calls} call" + ("s" if calls > 1 else "")


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """One call, or two where rows of padding see keys that rows before them see in a window."""
    from attnmask.run.engines.flash_attn import torch_calls
    from attnmask.run.torch_careful import careful

    return careful(lambda q, k, v: torch_calls.attend(package(), q, k, v, mask, frame, scale, False)[0], q, k, v)


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, Any]:
    """FlashAttention's own log-sum-exp beside the output."""
    from attnmask.run.engines.flash_attn import torch_calls
    from attnmask.run.torch_careful import careful

    def attend(q: Any, k: Any, v: Any, with_lse: bool = True) -> tuple[Any, Any]:
        return torch_calls.attend(package(), q, k, v, mask, frame, scale, with_lse)

    result: tuple[Any, Any] = careful(attend, q, k, v, plain=lambda q, k, v: attend(q, k, v, False)[0])
    return result
