"""attnmask's own kernel for CPUs: blocks of rows, each over the keys that they see; forward and backward."""

from __future__ import annotations

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.exchange.common import plain_in
from attnmask.run.compiled import compiling, constant_when_compiled, data_of, sizes_of, text_of
from attnmask.run.engines.cpu.blocks import Blocks, blocks_of
from attnmask.run.engines.cpu.kernel import kernel, missing
from attnmask.run.request import Request, Work

LIBRARY = "torch"

DTYPES = ("float32", "bfloat16", "float16")

# Measured on x86-64 (docs/decisions/0005).
PAIR = {"avx512": 0.55, "avx2": 1.2}  # the time of a pair, over that of a pair in SDPA without a mask
EDGE = 8.0  # the time of a visible pair that torch computes alone, likewise
FEWEST = 16  # query rows, below which most of a block is empty


def refusal(request: Request) -> str | None:
    """Why the kernel cannot run a request; None if it can."""
    setting = request.setting
    reasons = {
        f"it runs on cpu, not on {setting.device}": setting.device != "cpu",
        f"it computes {', '.join(DTYPES)}, not {setting.dtype}": setting.dtype not in DTYPES,
        "torch.func and fake tensors cannot look into it": setting.transformed,
        "torch.nn.attention.sdpa_kernel forbids fused kernels": not setting.fused,
    }
    found = next((reason for reason, applies in reasons.items() if applies), None)
    if found is not None:
        return found
    machine = request.processor
    if machine.variant is None:
        return missing()
    if blocks_of(request.mask, request.frame, machine.rows) is None:
        return "the keys that each row sees are too costly to find"
    return None


def pays(request: Request) -> bool:
    """Whether it is faster than what torch has: SDPA where that needs no mask, or the visible pairs one by one."""
    mask, frame, machine = request.mask, request.frame, request.processor
    blocks = blocks_of(mask, frame, machine.rows)
    assert machine.variant is not None, "it would have been refused"
    assert blocks is not None, "it would have been refused"
    pair = PAIR[machine.variant]
    if machine.amx and request.setting.dtype == "bfloat16":
        return False
    if pair > 1 and plain_in(mask, frame) != "other":
        return False
    return frame.q_len >= FEWEST and pair * blocks.computed <= EDGE * blocks.visible


def work(request: Request) -> Work:
    """One call over all blocks."""
    found = blocks_of(request.mask, request.frame, request.processor.rows)
    assert found is not None, "it would have been refused"
    batch, heads, blocks, size = found.rows.shape
    computed = found.computed * request.copies // (batch * heads)
    return Work(1, computed, f"1 call of attnmask's kernel over {blocks * request.copies:,} blocks of {size} rows")


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """Every row over the keys that some row of its block sees."""
    return attention_lse(q, k, v, mask, frame, scale)[0]


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, Any]:
    """The output, and the log-sum-exp of the scores of each row."""
    from attnmask.run.engines.cpu import torch_operations

    if compiling():
        return torch_operations.attend(q, k, v, _text(data_of(mask), sizes_of(frame)), scale)
    blocks = _known(mask, frame)  # held until the call is over
    return torch_operations.attend(q, k, v, torch_operations.number_of(blocks), scale)


_text = constant_when_compiled(text_of)  # what a program holds


def _known(mask: Mask, frame: Frame) -> Blocks:
    found = kernel()
    blocks = None if found is None else blocks_of(mask, frame, found.rows)
    assert blocks is not None, "it would have been refused"
    return blocks
