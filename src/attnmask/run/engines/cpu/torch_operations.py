"""The compiled kernel as operations of torch, forward and backward.

Operations, so that whoever watches what torch executes sees them: recorders, counters, fake tensors, torch.compile. An
operation takes tensors, numbers and texts: in a program a text says the mask and its frame, so that a program means its
own mask wherever it runs; in a call it is the number of blocks that this process holds, which costs nothing to write.
"""

from __future__ import annotations

import functools
import itertools
from ctypes import byref
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import InputError
from attnmask.lower.compiled import of_text
from attnmask.run.engines.cpu.blocks import Blocks
from attnmask.run.engines.cpu.kernel import Array, Call, Kernel, groups_of, kernel, kernel_of, kernels, missing
from attnmask.run.engines.cpu.ways import Way, cheapest, lists_of
from attnmask.run.request import Request, Setting
from attnmask.run.torch_tensors import SECOND, autocast, autocast_is_on, straight

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


def lists_for(mask: Mask, frame: Frame, q: Any, k: Any, v: Any, grad: bool) -> Blocks:
    """The lists of the cheapest way for these arrays."""
    dtype = torch.get_autocast_dtype("cpu") if autocast_is_on("cpu") else q.dtype
    found, way = kernel(), _way(mask, frame, *q.shape[:2], k.shape[1], q.shape[3], v.shape[3], dtype, grad)
    assert found is not None, "it would have been refused"
    return lists_of(mask, frame, way, found.rows)


@functools.lru_cache(maxsize=256)
def _way(
    mask: Mask, frame: Frame, batch: int, heads: int, kv_heads: int, dim: int, dim_v: int, dtype: Any, grad: bool
) -> Way | None:
    setting = Setting(str(dtype).removeprefix("torch."), grad=grad)
    return cheapest(Request("torch", mask, frame, batch, heads, kv_heads, dim, dim_v, setting))


def lists_told(text: str, q: Any, k: Any, v: Any, grad: bool = False) -> Blocks:
    """The lists of a number, or of the text of a program."""
    if text.startswith("#"):
        lists = _NUMBERED.get(text)
    else:
        lists = None if kernel() is None else lists_for(*of_text(text), q, k, v, grad)
    if lists is None:
        raise InputError(
            "a program with attnmask's kernel runs where that is, and is recorded by torch.compile, torch.export, "
            "torch.jit.trace or make_fx",
            f"blocks {text[:60]!r}, which {missing()}"
            if kernel() is None
            else f"blocks {text[:60]!r} of another process",
            "Leave engine out where the program is recorded: it is then made of torch's own operations",
        )
    return lists


def _rows(q: Any, k: Any, v: Any, told: str, scale: float) -> tuple[Any, Any]:
    lists, (output, lse) = lists_told(told, q, k, v), _outputs(q, k, v)
    arrays = [straight(array) for array in (q, k, v)]
    call = _call(lists, [*arrays, output, lse])
    if lists.grouped:
        groups_of(_fastest().rows, _format(q)).groups_forward(byref(call), scale)
    else:
        kernel_of(lists.rows.shape[3], _format(q)).forward(byref(call), scale)
    return output, lse


def _fastest() -> Kernel:
    return next(iter(kernels().values()))


def _outputs(q: Any, k: Any, v: Any, *_: Any) -> tuple[Any, Any]:
    """The arrays of the output, laid out as SDPA does, and of the log-sum-exp of each row."""
    batch, heads, q_len, _ = q.shape
    output = torch.empty(batch, q_len, heads, v.shape[3], dtype=q.dtype, device=q.device).transpose(1, 2)
    return output, torch.empty(batch, heads, q_len, dtype=torch.float32, device=q.device)


def _rows_backward(
    grad: Any, q: Any, k: Any, v: Any, output: Any, lse: Any, told: str, scale: float, grad_lse: Any
) -> tuple[Any, Any, Any]:
    lists = lists_told(told, q, k, v, grad=True)
    arrays = [straight(array) for array in (q, k, v, output)] + [lse, straight(grad)]
    return (_by_key if lists.grouped else _by_block)(lists, arrays, scale, grad_lse)


def _by_block(lists: Blocks, arrays: list[Any], scale: float, grad_lse: Any) -> tuple[Any, Any, Any]:
    """One pass over the blocks; gradients of keys are added up in parts."""
    q, k, v = arrays[:3]
    grad_q, parts = _like(q), _parts(k, lists.rows.shape[2])
    grad_k, grad_v = (torch.zeros(parts, *array.shape, dtype=torch.float32, device="cpu") for array in (k, v))
    call = _call(lists, [*arrays, grad_q] if grad_lse is None else [*arrays, grad_q, grad_lse])
    call.parts, call.grad_k, call.grad_v = parts, grad_k.data_ptr(), grad_v.data_ptr()
    kernel_of(lists.rows.shape[3], _format(q)).backward(byref(call), scale)
    return grad_q, *(_summed(total, q) for total in (grad_k, grad_v))


def _by_key(lists: Blocks, arrays: list[Any], scale: float, grad_lse: Any) -> tuple[Any, Any, Any]:
    """One pass over the keys; gradients of queries are added up in parts."""
    q, k, v = arrays[:3]
    grad_k, grad_v, parts = _like(k), _like(v), _parts(k, k.shape[2])
    grad_q = torch.empty(parts, *q.shape, dtype=torch.float32, device="cpu")
    call = _call(lists.by_key, arrays)
    if grad_lse is not None:
        call.grad_lse = _array(grad_lse)
    call.parts, call.grad_q_sums = parts, grad_q.data_ptr()
    call.key_grad, call.value_grad = _array(grad_k), _array(grad_v)
    _fastest().by_key_backward(byref(call), scale)
    return _summed(grad_q, q), grad_k, grad_v


def _parts(k: Any, most: int) -> int:
    """Parts of the work on a head of keys, so that every thread has some."""
    threads: int = torch.get_num_threads()
    return max(1, min(-(-TASKS * threads // (int(k.shape[0]) * int(k.shape[1]))), most))


def _summed(parts: Any, q: Any) -> Any:
    return (parts[0] if parts.shape[0] == 1 else parts.sum(0)).to(q.dtype)


def _gradients(grad: Any, q: Any, k: Any, v: Any, *_: Any) -> tuple[Any, Any, Any]:
    return _like(q), _like(k), _like(v)


def _like(array: Any) -> Any:
    return torch.empty_like(array, memory_format=torch.contiguous_format)


def _format(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")


def _call(lists: Blocks, arrays: list[Any]) -> Call:
    """The kernel's arguments; the caller holds the arrays, of which only addresses are told: q, k, v first."""
    (batch, heads, q_len, dim), (_, kv_heads, kv_len, dim_v) = arrays[0].shape, arrays[2].shape
    sizes = (batch, heads, kv_heads, kv_len, dim, dim_v, *lists.rows.shape[:3])
    told = [_array(array) for array in arrays]
    call = Call(TYPES[arrays[0].dtype], torch.get_num_threads(), *sizes, *lists.addresses, *told)
    call.size, call.q_len = lists.rows.shape[3], q_len
    return call


def _array(array: Any) -> Array:
    return Array(array.data_ptr(), *array.stride()[:3])


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
