"""attnmask's own kernel for CPUs: blocks of rows, each over the keys that they see; forward and backward."""

from __future__ import annotations

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.run.compiled import compiling, constant_when_compiled, data_of, sizes_of, text_of
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
    computed = costs.kernel * blocks.computed + costs.kernel_block * blocks.rows.size / size
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
    return _careful(q, k, v, mask, frame, scale, slice(1))[0]


def attention_lse(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> tuple[Any, ...]:
    """The output, and the log-sum-exp of the scores of each row."""
    return _careful(q, k, v, mask, frame, scale, slice(2))


def _careful(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float, parts: slice) -> tuple[Any, ...]:
    from attnmask.run.engines.cpu import torch_operations
    from attnmask.run.torch_careful import careful

    blocks = None if compiling() else _known(mask, frame)  # held until the call is over
    told = _text(data_of(mask), sizes_of(frame)) if blocks is None else torch_operations.number_of(blocks)

    def attend(q: Any, k: Any, v: Any) -> tuple[Any, ...]:
        results: tuple[Any, ...] = torch_operations.attend(q, k, v, told, scale)[parts]
        return results

    result: tuple[Any, ...] = careful(attend, q, k, v, plain=lambda q, k, v: attend(q, k, v)[0])
    return result


_text = constant_when_compiled(text_of)  # what a program holds


def _known(mask: Mask, frame: Frame) -> Blocks:
    found = kernel()
    blocks = None if found is None else blocks_of(mask, frame, found.rows)
    assert blocks is not None, "it would have been refused"
    return blocks
