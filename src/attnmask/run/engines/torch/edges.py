"""Visible pairs one by one, with torch's sparse matrix products: for masks in which rows share few keys, as in graphs.

Of each head, the scores of the visible pairs are a sampled product of queries and keys, their softmax is taken over the
entries of each row, and the output is the product of a sparse matrix and the values.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch

from attnmask.errors import InputError
from attnmask.lower.runs import Runs, part_of, spread
from attnmask.run.engines.torch.plan import Plan
from attnmask.run.torch_tensors import SECOND, autocast


class Edges(NamedTuple):
    """The visible pairs of one head, in compressed rows, and in compressed columns for the gradients of the keys."""

    shape: tuple[int, int]
    offsets: Any  # of each query's entries (q_len + 1)
    keys: Any  # of each entry (n)
    rows: Any  # of each entry (n)
    key_offsets: Any  # of each key's entries, in the order of columns (kv_len + 1)
    by_key: Any  # the entries in the order of columns (n)
    rows_by_key: Any  # their rows (n)


@functools.cache
def _warned() -> None:
    """Have torch say now, in silence, what it says once per process: that its sparse tensors may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 1], [0], [0.0], (1, 1), device="cpu")


def attend(q: Any, k: Any, v: Any, plan: Plan, scale: float) -> Any:
    """The output (batch, heads, q_len, dim)."""
    _warned()
    q, k, v = (autocast(array) for array in (q, k, v))
    wide = [array if array.dtype == torch.float64 else array.float() for array in (q, k, v)]
    with _plain():
        output: Any = _Attend.apply(*wide, plan, scale)
    return output.to(q.dtype)


class _Attend(torch.autograd.Function):  # type: ignore[misc]
    """Forward and backward, head by head."""

    @staticmethod
    def forward(ctx: Any, q: Any, k: Any, v: Any, plan: Plan, scale: float) -> Any:
        batch, heads, q_len, _ = q.shape
        output = torch.empty(batch, q_len, heads, v.shape[3], dtype=q.dtype, device=q.device).transpose(1, 2)
        weights = []
        for b, h, key_head, edges in _heads(plan, q, k):
            part = _softmax(_sampled(q[b, h], k[b, key_head], edges) * scale, edges)
            output[b, h] = _matrix(part, edges) @ v[b, key_head]
            weights.append(part)
        ctx.save_for_backward(q, k, v, output, *weights)
        ctx.plan, ctx.scale = plan, scale
        return output

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return (*_Backward.apply(ctx.plan, ctx.scale, grad.contiguous(), *ctx.saved_tensors), None, None)


class _Backward(torch.autograd.Function):  # type: ignore[misc]
    """A function of its own, so that a second derivative is refused and not taken to be zero."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, scale: float, grad: Any, *kept: Any) -> Any:
        with _plain():
            return _gradients(plan, scale, grad, *kept)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise InputError(*SECOND)


def _plain() -> Any:
    """Without torch.autocast: there are no sparse products of 16 bits."""
    return torch.autocast("cpu", enabled=False)


def _gradients(plan: Plan, scale: float, grad: Any, q: Any, k: Any, v: Any, output: Any, *weights: Any) -> Any:
    grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
    inner = (grad * output).sum(-1)  # of each row: the weighted mean of the gradients of its weights
    for (b, h, key_head, edges), part in zip(_heads(plan, q, k), weights, strict=True):
        grad_weights = _sampled(grad[b, h], v[b, key_head], edges)
        grad_scores = part * (grad_weights - inner[b, h].index_select(0, edges.rows)) * scale
        grad_q[b, h] = _matrix(grad_scores, edges) @ k[b, key_head]
        grad_k[b, key_head] += _by_key(grad_scores, edges) @ q[b, h]
        grad_v[b, key_head] += _by_key(part, edges) @ grad[b, h]
    return grad_q, grad_k, grad_v


def _heads(plan: Plan, q: Any, k: Any) -> Any:
    """Batch, head, the head of the keys, and the visible pairs."""
    kept = plan.kept.get("edges")
    if kept is None:
        kept = plan.kept["edges"] = _edges(plan)
    batch, heads = q.shape[:2]
    for b in range(batch):
        for h in range(heads):
            number = (b if plan.frame.batch > 1 else 0) * plan.frame.heads + (h if plan.frame.heads > 1 else 0)
            yield b, h, h // (heads // k.shape[1]), kept[number]


def _edges(plan: Plan) -> list[Edges]:
    frame = plan.frame
    assert plan.edges is not None
    parts = [part_of(plan.edges, n * frame.q_len, frame.q_len) for n in range(frame.batch * frame.heads)]
    with torch.inference_mode(False):
        return [_of_head(part, frame.kv_len) for part in parts]


def _of_head(runs: Runs, kv_len: int) -> Edges:
    keys, rows = spread(runs.start, runs.length), np.repeat(runs.row, runs.length)
    by_key = np.argsort(keys, kind="stable")
    ends = [
        np.concatenate([[0], np.cumsum(np.bincount(of, minlength=n))]) for of, n in ((rows, runs.rows), (keys, kv_len))
    ]
    arrays = (ends[0], keys, rows, ends[1], by_key, rows[by_key])
    return Edges((runs.rows, kv_len), *(torch.from_numpy(array) for array in arrays))


def _sampled(queries: Any, keys: Any, edges: Edges) -> Any:
    """The products of queries and keys at the visible pairs."""
    pattern = _matrix(torch.zeros(len(edges.keys), dtype=queries.dtype, device=queries.device), edges)
    return torch.sparse.sampled_addmm(pattern, queries, keys.t(), beta=0.0).values()


def _softmax(scores: Any, edges: Edges) -> Any:
    """Over the entries of each row."""
    largest = torch.segment_reduce(scores, "max", offsets=edges.offsets, initial=-math.inf)
    raised = (scores - largest.index_select(0, edges.rows)).exp_()
    total = torch.segment_reduce(raised, "sum", offsets=edges.offsets, initial=0.0)
    return raised.div_(total.index_select(0, edges.rows))


def _matrix(values: Any, edges: Edges) -> Any:
    """The sparse matrix (q_len, kv_len)."""
    return _compressed(edges.offsets, edges.keys, values, edges.shape)


def _by_key(values: Any, edges: Edges) -> Any:
    """Its transpose (kv_len, q_len)."""
    shape = (edges.shape[1], edges.shape[0])
    return _compressed(edges.key_offsets, edges.rows_by_key, values.index_select(0, edges.by_key), shape)


def _compressed(offsets: Any, columns: Any, values: Any, shape: tuple[int, int]) -> Any:
    return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False, device=values.device)
