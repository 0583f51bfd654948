"""The compiled kernel as operations of torch, forward and backward.

Operations, so that whoever watches what torch executes sees them: recorders, counters, fake tensors, torch.compile. An
operation takes tensors, numbers and texts: in a program a text says the mask and its frame, so that a program means its
own mask wherever it runs; in a call it is the number of blocks that this process holds, which costs nothing to write.
"""

from __future__ import annotations

import itertools
from ctypes import byref
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch

from attnmask.errors import InputError
from attnmask.lower.compiled import of_text
from attnmask.run.engines.cpu.blocks import Blocks, blocks_of
from attnmask.run.engines.cpu.kernel import Array, Call, kernel, kernel_of, missing
from attnmask.run.torch_tensors import SECOND, autocast, straight

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
TASKS = 2  # per thread, so that one with less to do can take another

_COUNTER = itertools.count()
_NUMBERS: WeakKeyDictionary[Blocks, str] = WeakKeyDictionary()
_NUMBERED: WeakValueDictionary[str, Blocks] = WeakValueDictionary()

_LIBRARY = torch.library.Library("attnmask", "FRAGMENT")
_LIBRARY.define("rows(Tensor q, Tensor k, Tensor v, str blocks, float scale) -> (Tensor, Tensor)")
_LIBRARY.define(
    "rows_backward(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor output, Tensor lse, str blocks, float scale,"
    " Tensor? grad_lse) -> (Tensor, Tensor, Tensor)"
)


def attend(q: Any, k: Any, v: Any, told: str, scale: float) -> tuple[Any, Any]:
    """The output (batch, heads, q_len, dim_v), and the log-sum-exp of the scores of each row (batch, heads, q_len)."""
    results: tuple[Any, Any] = torch.ops.attnmask.rows.default(*(autocast(array) for array in (q, k, v)), told, scale)
    return results


def number_of(blocks: Blocks) -> str:
    """The number that tells the operations of these blocks, as long as somebody holds them."""
    number = _NUMBERS.get(blocks)
    if number is None:
        number = _NUMBERS[blocks] = f"#{next(_COUNTER)}"
        _NUMBERED[number] = blocks
    return number


def blocks_told(text: str) -> Blocks:
    """The blocks of a number, or of the text of a program."""
    if text.startswith("#"):
        blocks = _NUMBERED.get(text)
    else:
        found = kernel()
        blocks = None if found is None else blocks_of(*of_text(text), found.rows)
    if blocks is None:
        raise InputError(
            "a program with attnmask's kernel runs where that is, and is recorded by torch.compile, torch.export, "
            "torch.jit.trace or make_fx",
            f"blocks {text[:60]!r}, which {missing()}"
            if kernel() is None
            else f"blocks {text[:60]!r} of another process",
            "Leave engine out where the program is recorded: it is then made of torch's own operations",
        )
    return blocks


def _rows(q: Any, k: Any, v: Any, told: str, scale: float) -> tuple[Any, Any]:
    blocks, (output, lse) = blocks_told(told), _outputs(q, k, v)
    arrays = [straight(array) for array in (q, k, v)]
    call = _call(blocks, [*arrays, output, lse])
    kernel_of(blocks.rows.shape[3], _format(q)).forward(byref(call), scale)
    return output, lse


def _outputs(q: Any, k: Any, v: Any, *_: Any) -> tuple[Any, Any]:
    """The arrays of the output, laid out as SDPA does, and of the log-sum-exp of each row."""
    batch, heads, q_len, _ = q.shape
    output = torch.empty(batch, q_len, heads, v.shape[3], dtype=q.dtype, device=q.device).transpose(1, 2)
    return output, torch.empty(batch, heads, q_len, dtype=torch.float32, device=q.device)


def _rows_backward(
    grad: Any, q: Any, k: Any, v: Any, output: Any, lse: Any, told: str, scale: float, grad_lse: Any
) -> tuple[Any, Any, Any]:
    blocks, grad_q = blocks_told(told), _like(q)
    parts = max(1, min(-(-TASKS * torch.get_num_threads() // (k.shape[0] * k.shape[1])), blocks.rows.shape[2]))
    grad_k, grad_v = (torch.zeros(parts, *array.shape, dtype=torch.float32, device="cpu") for array in (k, v))
    arrays = [straight(array) for array in (q, k, v, output)] + [lse, straight(grad)]
    call = _call(blocks, [*arrays, grad_q] if grad_lse is None else [*arrays, grad_q, grad_lse])
    call.parts, call.grad_k, call.grad_v = parts, grad_k.data_ptr(), grad_v.data_ptr()
    kernel_of(blocks.rows.shape[3], _format(q)).backward(byref(call), scale)
    return grad_q, *((total[0] if parts == 1 else total.sum(0)).to(q.dtype) for total in (grad_k, grad_v))


def _gradients(grad: Any, q: Any, k: Any, v: Any, *_: Any) -> tuple[Any, Any, Any]:
    return _like(q), _like(k), _like(v)


def _like(array: Any) -> Any:
    return torch.empty_like(array, memory_format=torch.contiguous_format)


def _format(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _call(blocks: Blocks, arrays: list[Any]) -> Call:
    """The kernel's arguments; the caller holds the arrays, of which only addresses are told: q, k, v first."""
    (batch, heads, _, dim), (_, kv_heads, kv_len, dim_v) = arrays[0].shape, arrays[2].shape
    sizes = (batch, heads, kv_heads, kv_len, dim, dim_v, *blocks.rows.shape[:3])
    told = [Array(array.data_ptr(), *array.stride()[:3]) for array in arrays]
    return Call(TYPES[arrays[0].dtype], torch.get_num_threads(), *sizes, *blocks.addresses, *told)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    q, k, v, ctx.told, ctx.scale = inputs
    ctx.set_materialize_grads(False)
    ctx.blocks = _NUMBERED.get(ctx.told)  # held until the backward pass
    ctx.save_for_backward(q, k, v, *output)


def _differentiate(ctx: Any, grad: Any, grad_lse: Any) -> tuple[Any, ...]:
    q, k, v, output, lse = ctx.saved_tensors
    grad = torch.zeros_like(output) if grad is None else grad
    grads = torch.ops.attnmask.rows_backward.default(grad, q, k, v, output, lse, ctx.told, ctx.scale, grad_lse)
    return (*grads, None, None)


def _refuse(ctx: Any, *grads: Any) -> Any:
    raise InputError(*SECOND)


for _name, _function, _shapes in (("rows", _rows, _outputs), ("rows_backward", _rows_backward, _gradients)):
    _LIBRARY.impl(_name, _function, "CPU")
    torch.library.register_fake(f"attnmask::{_name}", _shapes, lib=_LIBRARY)
torch.library.register_autograd("attnmask::rows", _differentiate, setup_context=_keep, lib=_LIBRARY)
torch.library.register_autograd("attnmask::rows_backward", _refuse, lib=_LIBRARY)
