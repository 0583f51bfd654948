"""torch's FlexAttention, compiled, with our own block mask: it computes the blocks in which something is visible."""

from __future__ import annotations

import math
import os
import shutil
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.forms import tiles
from attnmask.run.costs import costs_of
from attnmask.run.request import Request, Work

DTYPES = ("float32", "bfloat16", "float16")
LONG = 1 << 20  # pairs per head
SMALLEST_DIM = 16  # on a GPU, of torch's Triton kernel


def refusal(request: Request) -> str | None:
    """Why FlexAttention cannot run a request; None if it can."""
    setting, dim = request.setting, min(request.dim, request.dim_v)
    reasons = {
        f"it computes {', '.join(DTYPES)}, not {setting.dtype}": setting.dtype not in DTYPES,
        f"it runs on cpu and cuda, not on {setting.device}": setting.device not in ("cpu", "cuda"),
        "on the CPU it has no backward pass; call it under torch.no_grad()": setting.device == "cpu" and setting.grad,
        "on the CPU it gives no log-sum-exp": setting.device == "cpu" and setting.lse,
        "on the CPU it needs a C++ compiler, and there is none": setting.device == "cpu" and not _has_compiler(),
        f"on a GPU dim is at least {SMALLEST_DIM}, not {dim}": setting.device == "cuda" and dim < SMALLEST_DIM,
        "torch.func cannot look into it": setting.transformed,
        "it does not run inside torch.compile; hand am.export(mask, 'torch.flex', frame) into the function": setting.compiled,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _has_compiler() -> bool:
    """Whether torch will find a compiler for its CPU code."""
    return any(map(shutil.which, (os.environ.get("CXX") or "g++", "clang++")))


def cost(request: Request) -> float:
    """Of the tiles that are not empty; it is compiled for seconds, for which short calls are not worth it, nor any on a CPU."""
    short = request.frame.q_len * request.frame.kv_len < LONG
    if short or request.setting.device == "cpu":
        return math.inf
    return costs_of(request).flex * min(work(request).computed, request.pairs)


def work(request: Request) -> Work:
    """One call over the tiles that are not empty."""
    found = tiles.lower(request.mask, request.frame)
    some, full = int(found.runs.length.sum()), found.count(2)
    batch, heads = found.shape[:2]
    computed = some * tiles.DEFAULT**2 * request.copies // (batch * heads)
    size = f"{tiles.DEFAULT} x {tiles.DEFAULT}"
    return Work(
        1, computed, f"1 call of flex_attention over {some:,} blocks of {size}, {full:,} of them without a mask"
    )


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """Compiled at the first call of its kind, which takes seconds; empty rows are 0 by FlexAttention's own rule.

    It multiplies hidden values of a block by 0: on a GPU, NaN or infinity in them reaches all rows of the block, unless
    under ``nan_safe``.
    """
    from attnmask.run.engines.flex import torch_compiled
    from attnmask.run.torch_careful import careful

    return careful(lambda q, k, v: torch_compiled.attend(q, k, v, mask, frame, scale, False)[0], q, k, v)


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, Any]:
    """FlexAttention's own log-sum-exp beside the output."""
    from attnmask.run.engines.flex import torch_compiled
    from attnmask.run.torch_careful import careful

    def attend(q: Any, k: Any, v: Any, with_lse: bool = True) -> tuple[Any, Any]:
        return torch_compiled.attend(q, k, v, mask, frame, scale, with_lse)

    result: tuple[Any, Any] = careful(attend, q, k, v, plain=lambda q, k, v: attend(q, k, v, False)[0])
    return result
