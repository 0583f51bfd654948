"""The blocks of a plan on the CPU, each by one call of torch's fused kernel, forward and backward."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from attnmask.errors import InputError
from attnmask.run.engines.torch.plan import Block, Places, Plan
from attnmask.run.torch_tensors import SECOND, autocast, straight

_forward_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

KEPT = 1 << 24  # pairs of the masks of all blocks of a plan, to keep them as tensors between calls
SMALL = 350 * 350  # pairs of a block, below which backward with bfloat16 is slower than with 32 bits
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def attend(q: Any, k: Any, v: Any, plan: Plan, scale: float) -> Any:
    """The output (batch, heads, q_len, dim)."""
    output: Any = _Attend.apply(*(straight(autocast(array)) for array in (q, k, v)), plan, scale)
    return output


class _Attend(torch.autograd.Function):  # type: ignore[misc]
    """Forward and backward block by block."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, plan: Plan, scale: float) -> Any:
        output, lse = _forward(q, k, v, plan, scale)
        ctx.save_for_backward(q, k, v, output, lse)
        ctx.plan, ctx.scale = plan, scale
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        q, k, v, output, lse = ctx.saved_tensors
        return (*_Backward.apply(q, k, v, output, lse, grad, ctx.plan, ctx.scale), None, None)


class _Backward(torch.autograd.Function):  # type: ignore[misc]
    """A function of its own, so that a second derivative is refused and not taken to be zero."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, output: Any, lse: Any, grad: Any, plan: Plan, scale: float) -> Any:
        return _backward(q, k, v, output, lse, straight(grad), plan, scale)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise InputError(*SECOND)


def _forward(q: Any, k: Any, v: Any, plan: Plan, scale: float) -> tuple[Any, Any]:
    batch, heads, q_len, dim = q.shape
    output = q.new_zeros(batch, q_len, heads, dim).transpose(1, 2)  # as the kernel lays it out
    lse = q.new_zeros(batch, q_len, heads, dtype=_sum_format(q.dtype)).transpose(1, 2)
    work = torch.float32 if q.dtype == torch.float16 else q.dtype  # twice as fast as 16 bits
    for block, bias in zip(plan.blocks, _biases(plan, [work] * len(plan.blocks)), strict=True):
        arrays = (_rows(q, block), _keys(k, block, heads), _keys(v, block, heads))
        part, part_lse = _call(_forward_kernel, [array.to(work) for array in arrays], bias, scale)
        _put(output, block, part)
        _put(lse, block, part_lse)
    return output, lse


def _backward(
    q: Any, k: Any, v: Any, output: Any, lse: Any, grad: Any, plan: Plan, scale: float
) -> tuple[Any, Any, Any]:
    heads, dtype = q.shape[1], _sum_format(q.dtype)
    grad_q, (grad_k, grad_v) = torch.zeros_like(q), (torch.zeros_like(array, dtype=dtype) for array in (k, v))
    formats = [_backward_format(q.dtype, block) for block in plan.blocks]
    for block, work, bias in zip(plan.blocks, formats, _biases(plan, formats), strict=True):
        rows, keys = [_rows(array, block) for array in (grad, q)], [_keys(array, block, heads) for array in (k, v)]
        arrays = [array.to(work) for array in (*rows, *keys, _rows(output, block))]
        part_q, part_k, part_v = _call(_backward_kernel, [*arrays, _rows(lse, block)], bias, scale)
        _put(grad_q, block, part_q)
        for total, part in ((grad_k, part_k), (grad_v, part_v)):
            into = _of_heads(total, block.batch, _key_head(block, total, heads))
            if isinstance(block.keys, slice):
                into[:, :, block.keys] += part
            else:
                into.index_add_(2, torch.from_numpy(block.keys), part.to(dtype))
    return grad_q, grad_k.to(q.dtype), grad_v.to(q.dtype)


def _call(kernel: Any, arrays: list[Any], bias: Any, scale: float) -> list[Any]:
    """Head by head, whose keys then lie in the cache; where query heads share key heads, these are shared instead."""
    run = functools.partial(kernel, dropout_p=0.0, is_causal=False, attn_mask=bias, scale=scale)
    if len({array.shape[1] for array in arrays}) > 1:
        return list(run(*arrays))
    return [result.transpose(0, 1) for result in run(*(array.transpose(0, 1) for array in arrays))]


def _sum_format(dtype: torch.dtype) -> torch.dtype:
    """Sums over blocks, and log-sum-exps, have at least 32 bits."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _backward_format(dtype: torch.dtype, block: Block) -> torch.dtype:
    """Measured on x86-64: float16 takes 7 to 10 times as long as 32 bits, bfloat16 6 to 12 times in small blocks, 0.75 in large ones."""
    small = dtype == torch.bfloat16 and block.size[0] * block.size[1] < SMALL
    return torch.float32 if small or dtype == torch.float16 else dtype


def _biases(plan: Plan, formats: list[torch.dtype]) -> list[Any]:
    """For each block, in its number format: 0 where visible, -inf where hidden; None where nothing is hidden."""
    kept = plan.kept.get(tuple(formats))
    if kept is None:
        with torch.inference_mode(False):  # a mask made in inference mode must still serve training
            kept = [_bias(block.hidden, dtype) for block, dtype in zip(plan.blocks, formats, strict=True)]
        if sum(block.hidden.size for block in plan.blocks if block.hidden is not None) <= KEPT:
            plan.kept[tuple(formats)] = kept
    return kept


def _bias(hidden: Any, dtype: torch.dtype) -> Any:
    if hidden is None:
        return None
    return torch.zeros(1, 1, *hidden.shape, dtype=dtype).masked_fill_(torch.from_numpy(hidden), -math.inf)


def _rows(array: Any, block: Block) -> Any:
    """The rows of a block (batch, heads, rows, ...)."""
    return _taken(_of_heads(array, block.batch, block.head), block.rows)


def _keys(array: Any, block: Block, heads: int) -> Any:
    """The keys of a block (batch, kv_heads, keys, dim)."""
    return _taken(_of_heads(array, block.batch, _key_head(block, array, heads)), block.keys)


def _put(array: Any, block: Block, part: Any) -> None:
    """Write the rows of a block."""
    of_heads, places = _of_heads(array, block.batch, block.head), block.rows
    of_heads[:, :, places if isinstance(places, slice) else torch.from_numpy(places)] = part.to(array.dtype)


def _key_head(block: Block, array: Any, heads: int) -> int | None:
    return None if block.head is None else block.head // (heads // array.shape[1])


def _of_heads(array: Any, batch: int | None, head: int | None) -> Any:
    of_batch = array if batch is None else array[batch : batch + 1]
    return of_batch if head is None else of_batch[:, head : head + 1]


def _taken(array: Any, places: Places) -> Any:
    """A view where places lie evenly, else a copy."""
    return array[:, :, places] if isinstance(places, slice) else array.index_select(2, torch.from_numpy(places))
