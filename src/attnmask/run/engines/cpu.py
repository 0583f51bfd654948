"""attnmask's own kernel for CPUs: blocks of rows, each over the keys that they see; forward and backward."""

from __future__ import annotations

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.run.blocks import Blocks, blocks_of
from attnmask.run.kernel import kernel, missing
from attnmask.run.request import Request, Work

LIBRARY = "torch"

DTYPES = ("float32", "bfloat16", "float16")


def refusal(request: Request) -> str | None:
    """Why the kernel cannot run a request; None if it can."""
    setting = request.setting
    reasons = {
        f"it runs on cpu, not on {setting.device}": setting.device != "cpu",
        f"it computes {', '.join(DTYPES)}, not {setting.dtype}": setting.dtype not in DTYPES,
        "torch.func cannot look into it": setting.transformed,
        "torch.nn.attention.sdpa_kernel forbids fused kernels": not setting.fused,
    }
    found = next((reason for reason, applies in reasons.items() if applies), None)
    if found is not None:
        return found
    if kernel() is None:
        return missing()
    return (
        None
        if _blocks(request.mask, request.frame) is not None
        else "the keys that each row sees are too costly to find"
    )


def work(request: Request) -> Work:
    """One call over all blocks."""
    found = _known(request.mask, request.frame)
    batch, heads, blocks, size = found.rows.shape
    computed = found.computed * request.copies // (batch * heads)
    return Work(1, computed, f"1 call of attnmask's kernel over {blocks * request.copies:,} blocks of {size} rows")


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """Every row over the keys that some row of its block sees."""
    from attnmask.run import torch_blocks

    return torch_blocks.attend(q, k, v, _known(mask, frame), scale)


def _blocks(mask: Mask, frame: Frame) -> Blocks | None:
    found = kernel()
    return None if found is None else blocks_of(mask, frame, found.rows)


def _known(mask: Mask, frame: Frame) -> Blocks:
    found = _blocks(mask, frame)
    assert found is not None, "it would have been refused"
    return found
