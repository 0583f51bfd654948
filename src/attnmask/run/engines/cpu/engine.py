"""attnmask's own kernel for CPUs: blocks of rows, each over the keys that they see; forward and backward."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.compiled import compiling, constant_when_compiled, data_of, sizes_of, text_of
from attnmask.run.engines.cpu.kernel import missing
from attnmask.run.engines.cpu.ways import cheapest, lists_of
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
    if cheapest(request) is None:
        return "the keys that each row sees are too costly to find"
    return None


def cost(request: Request) -> float:
    """Of the cheapest way."""
    way = cheapest(request)
    assert way is not None, "it would have been refused"
    return way.cost


def work(request: Request) -> Work:
    """One call over all blocks, or groups."""
    way = cheapest(request)
    found = lists_of(request.mask, request.frame, way, request.processor.rows)
    assert way is not None
    *_, blocks, size = found.rows.shape
    if not way.grouped:
        words = f"over {blocks * request.copies:,} blocks of {size} rows"
    else:
        shared = request.heads // request.kv_heads
        rows = f"of {shared} heads that share keys" if shared > 1 else "of a head"
        words = f"reading keys once for {size} row{'' if size == 1 else 's'} {rows}"
    return Work(1, way.computed, f"1 call of attnmask's kernel {words}")


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
    """The function of q, k and v; operations are told a number of lists that it holds, or in a program the mask."""
    from attnmask.run.engines.cpu import torch_operations

    if compiling():
        told = _text(data_of(mask), sizes_of(frame))
        return lambda q, k, v: torch_operations.attend(q, k, v, told, scale)

    def attend(q: Any, k: Any, v: Any) -> tuple[Any, Any]:
        lists = torch_operations.lists_for(mask, frame, q, k, v, grad=_differentiated(q, k, v))
        return torch_operations.attend(q, k, v, torch_operations.number_of(lists), scale)

    return attend


def _differentiated(*arrays: Any) -> bool:
    torch = sys.modules["torch"]
    return torch.is_grad_enabled() and any(array.requires_grad for array in arrays)


_text = constant_when_compiled(text_of)  # what a program holds
