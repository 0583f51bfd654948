"""The pieces of a plan on the CPU, with torch's fused kernel, forward and backward.

The kernel gives for each row the log-sum-exp of its scores; with it the pieces of a row are merged exactly. Backward,
each piece is given the output and log-sum-exp of its whole rows, which makes its gradients parts of the whole ones.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch

from attnmask.errors import InputError
from attnmask.run.engines.torch.pieces import Piece
from attnmask.run.engines.torch.plan import Plan
from attnmask.run.torch_tensors import SECOND, autocast, straight

_forward_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

KEPT = 1 << 24  # pairs of the masks of all pieces of a plan, to keep them as tensors between calls
SMALL = 350 * 350  # pairs of a tile, below which backward with bfloat16 is slower than with 32 bits
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def supported(q: Any, k: Any, v: Any) -> bool:
    """Whether the kernel takes these tensors, and nobody looks at the operations inside."""
    return (
        q.device.type == "cpu"
        and q.dtype in DTYPES
        and q.dtype == k.dtype == v.dtype
        and q.shape[3] == v.shape[3]
        and not torch._C._are_functorch_transforms_active()
        and torch.backends.cuda.flash_sdp_enabled()  # what torch.nn.attention.sdpa_kernel switches, on the CPU too
    )


def attend(q: Any, k: Any, v: Any, plan: Plan, scale: float) -> Any:
    """The output (batch, heads, q_len, dim)."""
    output: Any = _Attend.apply(*(straight(autocast(array)) for array in (q, k, v)), plan, scale)
    return output


class _Attend(torch.autograd.Function):  # type: ignore[misc]
    """Forward and backward piece by piece."""

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


def _heads_last(array: Any) -> Any:
    """The same array, with all heads of a position side by side, so that a position is copied at once."""
    return array.transpose(1, 2).contiguous().transpose(1, 2)


def _forward(q: Any, k: Any, v: Any, plan: Plan, scale: float) -> tuple[Any, Any]:
    merged = plan.pieces[-1].layer > 0 if plan.pieces else False
    covered = sum(piece.rows * piece.tiles for piece in plan.pieces if piece.layer == 0)
    whole = covered == plan.frame.q_len * plan.frame.batch * plan.frame.heads
    batch, heads, q_len, dim = q.shape
    given, (q, k, v) = q.dtype, _converted(_forward_format(q.dtype), q, k, v)
    dtype = _sum_dtype(q.dtype) if merged else q.dtype
    new = torch.empty if whole else torch.zeros
    output = new(batch, q_len, heads, dim, dtype=dtype, device=q.device).transpose(1, 2)  # as the kernel lays it out
    lse = new(batch, q_len, heads, dtype=_sum_dtype(q.dtype), device=q.device).transpose(1, 2)
    if plan.gathers:
        k, v = _heads_last(k), _heads_last(v)
    for piece, bias in zip(plan.pieces, _biases(plan, [q.dtype] * len(plan.pieces)), strict=True):
        empty = piece.empty
        for part in _parts(piece, batch):
            arrays = (_queries(q, part), _keys(k, part, heads), _keys(v, part, heads))
            call = functools.partial(
                _forward_kernel, dropout_p=0.0, is_causal=piece.causal, attn_mask=bias, scale=scale
            )
            result, part_lse = _head_by_head(call, *arrays)
            if empty is not None:
                part_lse.masked_fill_(torch.from_numpy(empty), -math.inf)  # the kernel gives 0
            _put(_queries(output, part), _row_numbers(lse, part), result, part_lse, piece.layer)
    if any(piece.hidden is not None for piece in plan.pieces):
        lse.masked_fill_(lse == -math.inf, 0.0)  # rows that see nothing: their weights are exp(-inf - 0)
    return output.to(given), lse


def _forward_format(dtype: torch.dtype) -> torch.dtype:
    """The number format that the kernel is given: 32 bits where it is slower with 16.

    Measured on x86-64: with float16, forward takes 2 times as long as with 32 bits, and backward 7 to 10 times.
    """
    return torch.float32 if dtype == torch.float16 else dtype


def _backward_format(dtype: torch.dtype, piece: Piece) -> torch.dtype:
    """The same for backward, which with bfloat16 takes 6 to 12 times as long for tiles of 20 to 40 rows, 0.75 times for 800."""
    small = dtype == torch.bfloat16 and piece.rows * piece.keys < SMALL
    return torch.float32 if small else _forward_format(dtype)


def _converted(dtype: torch.dtype, *arrays: Any) -> list[Any]:
    return [array.to(dtype) for array in arrays]


def _head_by_head(call: Any, *arrays: Any) -> list[Any]:
    """Call a kernel so that it goes through all tiles of a head in turn, whose keys overlap and then lie in the cache.

    Where query heads share key heads, these are shared in the cache instead.
    """
    if len({array.shape[1] for array in arrays}) > 1:
        return list(call(*arrays))
    return [result.transpose(0, 1) for result in call(*(array.transpose(0, 1) for array in arrays))]


def _put(output: Any, lse: Any, result: Any, part_lse: Any, layer: int) -> None:
    """Write the first part of rows, or merge a later part into them."""
    if layer == 0:
        output.copy_(result)
        lse.copy_(part_lse)
        return
    total = torch.logaddexp(lse, part_lse)
    finite = total.masked_fill(total == -math.inf, 0.0)
    output.mul_((lse - finite).exp_().unsqueeze(-1))
    output.add_(result * (part_lse - finite).exp_().unsqueeze(-1))
    lse.copy_(total)


def _backward(
    q: Any, k: Any, v: Any, output: Any, lse: Any, grad: Any, plan: Plan, scale: float
) -> tuple[Any, Any, Any]:
    dtype, heads = _sum_dtype(q.dtype), q.shape[1]
    if plan.gathers:
        k, v = _heads_last(k), _heads_last(v)
    grad_q, grad_k, grad_v = (torch.zeros_like(array, dtype=dtype) for array in (q, k, v))
    formats = [_backward_format(q.dtype, piece) for piece in plan.pieces]
    for piece, work, bias in zip(plan.pieces, formats, _biases(plan, formats), strict=True):
        for part in _parts(piece, q.shape[0]):
            rows = (_queries(grad, part), _queries(q, part), _keys(k, part, heads), _keys(v, part, heads))
            *arrays, result = _converted(work, *rows, _queries(output, part))
            ends = (result, _row_numbers(lse, part))
            call = functools.partial(
                _backward_kernel, dropout_p=0.0, is_causal=piece.causal, attn_mask=bias, scale=scale
            )
            parts = _head_by_head(call, *arrays, *ends)
            into = _queries(grad_q, part)
            into.copy_(parts[0]) if piece.layer == 0 else into.add_(parts[0])
            _add_keys(grad_k, parts[1], part, heads)
            _add_keys(grad_v, parts[2], part, heads)
    return grad_q.to(q.dtype), grad_k.to(q.dtype), grad_v.to(q.dtype)


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """Sums over pieces, and log-sum-exps, have at least 32 bits."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _biases(plan: Plan, formats: list[torch.dtype]) -> list[Any]:
    """For each piece, in its number format: 0 where visible, -inf where hidden, for all tiles, batches and heads.

    None where nothing is hidden.
    """
    kept = plan.kept.get(tuple(formats))
    if kept is None:
        with torch.inference_mode(False):  # a mask made in inference mode must still serve training
            kept = [_bias(piece.hidden, dtype) for piece, dtype in zip(plan.pieces, formats, strict=True)]
        if sum(piece.hidden.size for piece in plan.pieces if piece.hidden is not None) <= KEPT:
            plan.kept[tuple(formats)] = kept
    return kept


def _bias(hidden: Any, dtype: torch.dtype) -> Any:
    if hidden is None:
        return None
    return torch.zeros(hidden.shape, dtype=dtype, device="cpu").masked_fill_(torch.from_numpy(hidden), -math.inf)[
        None, None
    ]


def _parts(piece: Piece, batch: int) -> list[Piece]:
    """The piece as one call, or as one for each batch where its tiles take the place of the batch axis."""
    if piece.tiles == 1 or piece.batch is not None:
        return [piece]
    return [piece._replace(batch=number) for number in range(batch)]


def _queries(array: Any, piece: Piece) -> Any:
    """The rows of a piece (batch or tiles, heads, rows, dim), without a copy."""
    return _tiles(_head(array, piece.head), piece, piece.q_start, piece.q_step, piece.rows)


def _row_numbers(array: Any, piece: Piece) -> Any:
    """The same for one number per row (batch or tiles, heads, rows)."""
    return _queries(array.unsqueeze(-1), piece).squeeze(-1)


def _keys(array: Any, piece: Piece, heads: int) -> Any:
    """The keys of a piece (batch or tiles, kv_heads, keys, dim); a copy only where they are chosen by number."""
    of_head = _head(array, _key_head(array, piece, heads))
    if piece.chosen is None:
        return _tiles(of_head, piece, piece.k_start, piece.k_step, piece.keys)
    numbers = torch.from_numpy(piece.chosen.reshape(-1))
    copied = (
        _batch(of_head, piece.batch).transpose(1, 2).index_select(1, numbers)
    )  # (batch, keys of all tiles, heads, dim)
    tiles = copied if piece.tiles == 1 else copied[0].unflatten(0, piece.chosen.shape)
    return tiles.transpose(1, 2)


def _key_head(array: Any, piece: Piece, heads: int) -> int | None:
    return None if piece.head is None else piece.head // (heads // array.shape[1])


def _head(array: Any, head: int | None) -> Any:
    return array if head is None else array[:, head : head + 1]


def _batch(array: Any, batch: int | None) -> Any:
    return array if batch is None else array[batch : batch + 1]


def _tiles(array: Any, piece: Piece, start: int, step: int, size: int) -> Any:
    """The tiles of an array (batch, heads, length, dim), which may overlap, along the first axis."""
    whole = _batch(array, piece.batch)
    if piece.tiles == 1:
        return whole[:, :, start : start + (size - 1) * piece.spacing + 1 : piece.spacing]
    _, heads, _, dim = whole.shape
    _, by_head, by_row, by_number = whole.stride()
    place = whole.storage_offset() + start * by_row
    strides = (step * by_row, by_head, piece.spacing * by_row, by_number)
    return whole.as_strided((piece.tiles, heads, size, dim), strides, place)


def _add_keys(total: Any, parts: Any, piece: Piece, heads: int) -> None:
    """Add the gradients of a piece's keys; tiles that overlap are added one after the other, the same row never twice."""
    of_head = _head(total, _key_head(total, piece, heads))
    if piece.chosen is not None:
        rows = parts.transpose(1, 2) if piece.tiles == 1 else parts.transpose(1, 2).flatten(0, 1)[None]
        numbers = torch.from_numpy(piece.chosen.reshape(-1))
        _batch(of_head, piece.batch).transpose(1, 2).index_add_(1, numbers, rows.to(total.dtype))
        return
    if piece.apart == piece.keys:
        _tiles(of_head, piece, piece.k_start, piece.k_step, piece.keys).add_(parts)
    elif not piece.apart:
        one = piece._replace(tiles=1)
        _tiles(of_head, one, one.k_start, 0, one.keys).add_(parts.sum(0, keepdim=True))
    elif piece.tiles * piece.apart <= piece.keys:  # fewer tiles than strips
        for number in range(piece.tiles):
            one = piece._replace(tiles=1, k_start=piece.k_start + number * piece.k_step)
            _tiles(of_head, one, one.k_start, 0, one.keys).add_(parts[number])
    else:
        for first in range(0, piece.keys, piece.apart):
            size = min(piece.apart, piece.keys - first)
            strip = _tiles(of_head, piece, piece.k_start + first * piece.spacing, piece.k_step, size)
            strip.add_(parts.narrow(2, first, size))
