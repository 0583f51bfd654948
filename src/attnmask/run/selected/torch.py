"""Selections in torch: by chunks of queries, whose scores are computed again on the way back."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from operator import index
from typing import Any

import torch
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from attnmask.define.frame import Frame
from attnmask.define.selection import Selection
from attnmask.lower.arrays import evaluate
from attnmask.lower.chunks import Chunk, chunks, rows_of
from attnmask.lower.compiled import fitted
from attnmask.run.torch_careful import doubtful, parted
from attnmask.run.torch_forked import one_thread_after_fork
from attnmask.run.torch_tensors import autocast, autocast_is_on


def attention(q: Any, k: Any, v: Any, selection: Selection, frame: Frame, scale: float) -> Any:
    """The output (batch, heads, q_len, dim_v), chunk by chunk."""
    return _attended(q, k, v, selection, frame, scale)[0]


def attention_lse(q: Any, k: Any, v: Any, selection: Selection, frame: Frame, scale: float) -> tuple[Any, Any]:
    """The output, and the log-sum-exp of the scores that each row takes (batch, heads, q_len), in at least 32 bits."""
    output, lse = _attended(q, k, v, selection, frame, scale, with_lse=True)
    return output, lse


def _attended(
    q: Any, k: Any, v: Any, selection: Selection, frame: Frame, scale: float, with_lse: bool = False
) -> list[Any]:
    def attend(q: Any, k: Any, v: Any, chunk: Chunk) -> tuple[Any, ...]:
        scores, nothing, hidden = _scores(q, k, chunk, selection, frame, scale)
        weights = scores.softmax(-1).masked_fill(hidden, 0.0)
        if doubtful(v):  # a value that is not finite reaches the rows that take it
            lost = ~v.isfinite().all(-1, keepdim=True).repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(2, 3)
            weights, v = weights.masked_fill(lost & (weights > 0), math.nan), torch.where(v.isfinite(), v, 0.0)
        output = _by_key_head(weights, k).matmul(v.to(weights.dtype)).reshape(*q.shape[:3], v.shape[3]).to(q.dtype)
        return (output, scores.logsumexp(-1).masked_fill(nothing[..., 0], -math.inf)) if with_lse else (output,)

    one_thread_after_fork()
    q, k, v = (autocast(array) for array in (q, k, v))
    copies = index(q.shape[0]) * index(q.shape[1])  # index() because torch.compile may hold sizes open
    parts = chunks(selection.mask, frame, rows_of(copies, frame), step_of(selection))
    call = _again(attend) if len(parts) > 1 and _saves(q, k, v) else attend
    with _no_autocast(q):
        results = [call(*_of_chunk(part, q, k, v), part) for part in parts]
        return [parts[0] if len(parts) == 1 else torch.cat(parts, 2) for parts in zip(*results, strict=True)]


def attention_weights(q: Any, k: Any, selection: Selection, frame: Frame, scale: float) -> Any:
    """The softmax alone, with all weights in memory."""
    q, k = autocast(q), autocast(k)
    everything = Chunk(0, frame.q_len, 0, frame.kv_len)
    with _no_autocast(q):
        scores, _, hidden = _scores(q, k, everything, selection, frame, scale)
        return scores.softmax(-1).masked_fill(hidden, 0.0).to(q.dtype)


def step_of(selection: Selection) -> int:
    """Where chunks of keys may begin, so that blocks are whole."""
    return math.lcm(*(index(int(rule.args[1])) for rule in selection.rules if rule.name == "top_k_blocks"))


def _again(attend: Callable[..., Any]) -> Callable[..., Any]:
    """The same, keeping q, k and v for the way back, not the scores."""
    return lambda *args: checkpoint(attend, *args, use_reentrant=False, preserve_rng_state=False)


def _saves(*arrays: Any) -> bool:
    """Whether anything would be kept for a way back; transforms of torch.func keep it themselves."""
    wanted = torch.is_grad_enabled() and any(array.requires_grad for array in arrays)
    return wanted and not torch._C._are_functorch_transforms_active()


def _of_chunk(chunk: Chunk, q: Any, k: Any, v: Any) -> tuple[Any, Any, Any]:
    keys = (2, chunk.k_first, chunk.k_stop - chunk.k_first)
    return q.narrow(2, chunk.first, chunk.stop - chunk.first), k.narrow(*keys), v.narrow(*keys)


def _scores(q: Any, k: Any, chunk: Chunk, selection: Selection, frame: Frame, scale: float) -> tuple[Any, ...]:
    """The scores of a chunk (batch, heads, rows, keys), -inf where not taken; the rows that take nothing, 0 there; no weight.

    They have at least 32 bits: ranks must not be rounded to bfloat16.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    q, k, lost = parted(q, k)
    scores = _by_key_head(q.to(dtype) * scale, k).matmul(k.to(dtype).transpose(2, 3)).reshape(*q.shape[:3], k.shape[2])
    if lost is not None:
        scores = scores.masked_fill(lost, math.nan)
    taken = visible = _visible(selection, chunk, frame, q)
    for rule in selection.rules:
        taken = taken & RULES[rule.name](scores.detach(), visible, *rule.args)
    nothing = ~taken.any(-1, keepdim=True)
    # scores of hidden keys are replaced before softmax, also where a row takes nothing: they may be NaN
    return scores.masked_fill(~taken, -math.inf).masked_fill(nothing, 0.0), nothing, nothing if lost is None else ~taken


def _by_key_head(array: Any, k: Any) -> Any:
    """(batch, heads, rows, n) as (batch, kv_heads, rows of all heads of the group, n), without a copy of the keys."""
    return array.reshape(k.shape[0], k.shape[1], -1, array.shape[3])


def _visible(selection: Selection, chunk: Chunk, frame: Frame, q: Any) -> Any:
    """What the mask shows of a chunk, broadcast to (1 or batch, 1 or heads, rows, keys)."""
    mask = selection.mask
    start = None if frame.q_start is None else frame.q_start + chunk.first
    rows, keys = chunk.stop - chunk.first, slice(chunk.k_first, chunk.k_stop)
    part = Frame(rows, frame.kv_len, q_start=start, batch=frame.batch, heads=frame.heads)
    sizes = fitted(mask, part)
    visible = evaluate(
        mask.node,
        torch.arange(sizes.batch, device=q.device)[:, None, None, None],
        torch.arange(sizes.heads, device=q.device)[:, None, None],
        torch.arange(sizes.q_start, sizes.q_start + rows, device=q.device)[:, None],
        torch.arange(keys.start, keys.stop, device=q.device),
    )
    return torch.as_tensor(visible, device=q.device).expand(sizes.batch, sizes.heads, rows, keys.stop - keys.start)


def _no_autocast(array: Any) -> Any:
    """Autocast off where it is on, for scores in 32 bits."""
    kind = array.device.type
    return torch.autocast(kind, enabled=False) if autocast_is_on(kind) else contextlib.nullcontext()


def _top_k(scores: Any, visible: Any, k: int) -> Any:
    """Above the k-th highest score all, at it the earliest: which of equal ones torch.topk gives is not defined."""
    ranked = scores.masked_fill(scores.isnan(), math.inf).masked_fill(~visible, -math.inf)
    least = ranked.topk(min(k, ranked.shape[-1]), -1, sorted=False).values.amin(-1, keepdim=True)
    above, at = ranked > least, (ranked == least) & visible
    room = k - above.sum(-1, keepdim=True, dtype=torch.int32)
    return above | (at & (at.cumsum(-1, dtype=torch.int32) <= room))


def _top_k_blocks(scores: Any, visible: Any, k: int, size: int) -> Any:
    """The score of a mean key is the mean of the scores of its keys, so hidden keys are left out pair by pair."""
    keys = scores.shape[-1]
    whole = (0, -keys % size)
    seen = pad(visible, whole).unflatten(-1, (-1, size)).sum(-1)
    total = pad(scores.masked_fill(~visible, 0.0), whole).unflatten(-1, (-1, size)).sum(-1)
    chosen = _top_k(total / seen.clamp(min=1), seen > 0, k)
    return visible & chosen.repeat_interleave(size, -1)[..., :keys]


def _threshold(scores: Any, visible: Any, x: float) -> Any:
    return (scores >= x) | scores.isnan()


RULES: dict[str, Callable[..., Any]] = {
    "top_k": _top_k,
    "top_k_blocks": _top_k_blocks,
    "threshold": _threshold,
}
