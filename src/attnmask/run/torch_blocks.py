"""The compiled kernel as operations of torch, forward and backward."""

from __future__ import annotations

from ctypes import byref
from typing import Any

import torch

from attnmask.run.blocks import Blocks
from attnmask.run.kernel import Array, Call, kernels
from attnmask.run.torch_pieces import SECOND, autocast

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
TASKS = 2  # per thread, so that one with less to do can take another

LISTS = ("rows", "offsets", "start", "stop", "seen")

# Operations of torch, so that whoever watches what torch executes sees the call: recorders, counters, fake tensors.
_LIBRARY = torch.library.Library("attnmask", "FRAGMENT")
_TOLD = "Tensor q, Tensor k, Tensor v, {}" + "".join(f"Tensor {name}, " for name in LISTS) + "float scale"
_LIBRARY.define(f"rows({_TOLD.format('')}) -> (Tensor, Tensor)")
_LIBRARY.define(
    f"rows_backward(Tensor grad, {_TOLD.format('Tensor output, Tensor lse, ')}) -> (Tensor, Tensor, Tensor)"
)


def attend(q: Any, k: Any, v: Any, blocks: Blocks, scale: float) -> Any:
    """The output (batch, heads, q_len, dim_v)."""
    q, k, v = (autocast(array) for array in (q, k, v))
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        output: Any = _Attend.apply(q, k, v, blocks, scale)
        return output
    return torch.ops.attnmask.rows.default(q, k, v, *_lists(blocks), scale)[0]


class _Attend(torch.autograd.Function):  # type: ignore[misc]
    """Forward and backward."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, blocks: Blocks, scale: float) -> Any:
        output, lse = torch.ops.attnmask.rows.default(q, k, v, *_lists(blocks), scale)
        ctx.save_for_backward(q, k, v, output, lse)
        ctx.blocks, ctx.scale = blocks, scale
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return (*_Backward.apply(grad, *ctx.saved_tensors, ctx.blocks, ctx.scale), None, None)


class _Backward(torch.autograd.Function):  # type: ignore[misc]
    """A function of its own, so that a second derivative is refused and not taken to be zero."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        *arrays, blocks, scale = args
        return torch.ops.attnmask.rows_backward.default(*arrays, *_lists(blocks), scale)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(SECOND)


def _lists(blocks: Blocks) -> tuple[Any, ...]:
    """The arrays of the blocks as tensors."""
    kept: tuple[Any, ...] | None = blocks.kept.get("torch")
    if kept is None:
        arrays = (blocks.rows, blocks.offsets, blocks.start, blocks.stop, blocks.seen.view("int32"))
        with torch.inference_mode(False):
            kept = blocks.kept["torch"] = tuple(map(torch.from_numpy, arrays))
    return kept


def _rows(q: Any, k: Any, v: Any, *lists: Any) -> tuple[Any, Any]:
    *of_blocks, scale = lists
    batch, heads, q_len, _ = q.shape
    output = torch.empty(batch, q_len, heads, v.shape[3], dtype=q.dtype, device="cpu").transpose(1, 2)
    lse = torch.empty(batch, heads, q_len, dtype=torch.float32, device="cpu")
    arrays = [_straight(array) for array in (q, k, v)]
    call = _call(arrays, of_blocks, (*arrays, output, lse.unsqueeze(3)))
    kernels()[of_blocks[0].shape[3]].forward(byref(call), scale)
    return output, lse


def _rows_backward(grad: Any, q: Any, k: Any, v: Any, output: Any, lse: Any, *lists: Any) -> tuple[Any, Any, Any]:
    *of_blocks, scale = lists
    grad_q = torch.empty_like(q, memory_format=torch.contiguous_format)
    parts = max(1, min(-(-TASKS * torch.get_num_threads() // (k.shape[0] * k.shape[1])), of_blocks[0].shape[2]))
    grad_k, grad_v = (torch.zeros(parts, *array.shape, dtype=torch.float32, device="cpu") for array in (k, v))
    arrays = [_straight(array) for array in (q, k, v, output, lse.unsqueeze(3), grad)]
    call = _call(arrays, of_blocks, (*arrays, grad_q))
    call.parts, call.grad_k, call.grad_v = parts, grad_k.data_ptr(), grad_v.data_ptr()
    kernels()[of_blocks[0].shape[3]].backward(byref(call), scale)
    return grad_q, *((total[0] if parts == 1 else total.sum(0)).to(q.dtype) for total in (grad_k, grad_v))


def _straight(array: Any) -> Any:
    """The kernel wants the numbers of a row side by side."""
    return array if array.stride(3) == 1 else array.contiguous()


def _call(arrays: Any, lists: Any, pointers: Any) -> Call:
    """The kernel's arguments, of the arrays that it is to read and write."""
    (batch, heads, _, dim), (_, kv_heads, kv_len, dim_v) = arrays[0].shape, arrays[2].shape
    list_batch, list_heads, blocks, _ = lists[0].shape
    sizes = (batch, heads, kv_heads, kv_len, dim, dim_v, list_batch, list_heads, blocks)
    addresses = [array.data_ptr() for array in lists]
    told = [Array(array.data_ptr(), *array.stride()[:3]) for array in pointers]
    return Call(TYPES[arrays[0].dtype], torch.get_num_threads(), *sizes, *addresses, *told)


_LIBRARY.impl("rows", _rows, "CPU")
_LIBRARY.impl("rows_backward", _rows_backward, "CPU")
