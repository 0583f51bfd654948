"""attnmask's own kernel for CPUs: blocks of rows, each over the keys that they see; forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.compiled import compiling, constant_when_compiled, data_of, sizes_of, text_of
from attnmask.run.costs import costs_of
from attnmask.run.engines.cpu.blocks import Blocks, blocks_of
from attnmask.run.engines.cpu.kernel import kernel, missing
from attnmask.run.request import Request, Work

DTYPES = ("float32", "bfloat16", "float16")


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


def cost(request: Request) -> float:
    """Of the blocks, also where most of their rows are empty."""
    costs, blocks = costs_of(request), _blocks_of(request)
    batch, heads, _, size = blocks.rows.shape
    lists = costs.kernel_block * blocks.rows.size / size + costs.kernel_run * len(blocks.start)
    computed = costs.kernel * blocks.computed + lists
    return float(costs.kernel_call + computed * request.copies / (batch * heads))


def _blocks_of(request: Request) -> Blocks:
    found = blocks_of(request.mask, request.frame, request.processor.rows)
    assert found is not None, "it would have been refused"
    return found


def work(request: Request) -> Work:
    """One call over all blocks."""
    found = _blocks_of(request)
    batch, heads, blocks, size = found.rows.shape
    computed = found.computed * request.copies // (batch * heads)
    return Work(1, computed, f"1 call of attnmask's kernel over {blocks * request.copies:,} blocks of {size} rows")


def attention(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """Every row over the keys that some row of its block sees."""
    from attnmask.run.torch_careful import careful

    attend = _attend(mask, frame, scale)
    return careful(lambda q, k, v: attend(q, k, v)[0], q, k, v)


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, Any]:
    """The output, and the log-sum-exp of the scores of each row."""
    from attnmask.run.torch_careful import careful

    attend = _attend(mask, frame, scale)
    output, lse = careful(attend, q, k, v, plain=lambda q, k, v: attend(q, k, v)[0])
    return output, lse


def _attend(mask: Mask, frame: Frame, scale: float) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """The function of q, k and v; it holds the blocks, of which operations are told a number, or a program the mask."""
    from attnmask.run.engines.cpu import torch_operations

    if compiling():
        told = _text(data_of(mask), sizes_of(frame))
        return lambda q, k, v: torch_operations.attend(q, k, v, told, scale)
    blocks = _known(mask, frame)
    return lambda q, k, v: torch_operations.attend(q, k, v, torch_operations.number_of(blocks), scale)


_text = constant_when_compiled(text_of)  # what a program holds


def _known(mask: Mask, frame: Frame) -> Blocks:
    found = kernel()
    blocks = None if found is None else blocks_of(mask, frame, found.rows)
    assert blocks is not None, "it would have been refused"
    return blocks
