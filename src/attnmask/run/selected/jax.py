"""Selections in JAX: a loop over chunks of queries, whose scores are computed again on the way back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.selection import Selection
from attnmask.lower.arrays import evaluate
from attnmask.lower.chunks import rows_of
from attnmask.lower.grid import dense, fits_jax
from attnmask.run.careful import always
from attnmask.run.jax_careful import lost_rows, parted


def attention(q: Any, k: Any, v: Any, selection: Selection, frame: Frame, scale: float) -> Any:
    """The output (batch, heads, q_len, dim_v), chunk by chunk."""
    return _attended(q, k, v, selection, frame, scale)[0]


def attention_lse(q: Any, k: Any, v: Any, selection: Selection, frame: Frame, scale: float) -> tuple[Any, Any]:
    """The output, and the log-sum-exp of the scores that each row takes (batch, heads, q_len), in at least 32 bits."""
    return _attended(q, k, v, selection, frame, scale)


def _attended(q: Any, k: Any, v: Any, selection: Selection, frame: Frame, scale: float) -> tuple[Any, Any]:
    rows = rows_of(q.shape[0] * q.shape[1], frame)

    def attend(q: Any, first: Any) -> tuple[Any, Any]:
        scores, nothing, hidden = _scores(q, k, first, selection, frame, scale)
        weights, values = jnp.where(hidden, 0.0, jax.nn.softmax(scores, axis=-1)), v
        if always():  # a value that is not finite reaches the rows that take it
            lost = lost_rows(v, q).swapaxes(2, 3)
            weights, values = jnp.where(lost & (weights > 0), jnp.nan, weights), jnp.where(jnp.isfinite(v), v, 0)
        output = _product(_by_key_head(weights, k), values)
        lse = jnp.where(nothing[..., 0], -jnp.inf, jax.nn.logsumexp(scores, axis=-1))
        return output.reshape(*q.shape[:3], v.shape[3]).astype(q.dtype), lse

    if rows == frame.q_len:
        return attend(q, 0)
    count = -(-frame.q_len // rows)
    whole = jnp.pad(q, ((0, 0), (0, 0), (0, count * rows - frame.q_len), (0, 0)))
    parts = jnp.moveaxis(whole.reshape(*q.shape[:2], count, rows, q.shape[3]), 2, 0)
    again = jax.checkpoint(lambda part: attend(*part))
    output, lse = (jnp.moveaxis(results, 0, 2) for results in jax.lax.map(again, (parts, jnp.arange(count) * rows)))
    joined = (array.reshape(*q.shape[:2], count * rows, *array.shape[4:]) for array in (output, lse))
    output, lse = (array[:, :, : frame.q_len] for array in joined)
    return output, lse


def attention_weights(q: Any, k: Any, selection: Selection, frame: Frame, scale: float) -> Any:
    """The softmax alone, with all weights in memory."""
    scores, _, hidden = _scores(q, k, 0, selection, frame, scale)
    return jnp.where(hidden, 0.0, jax.nn.softmax(scores, axis=-1)).astype(q.dtype)


def _scores(q: Any, k: Any, first: Any, selection: Selection, frame: Frame, scale: float) -> tuple[Any, Any, Any]:
    """The scores of the queries from ``first`` on (batch, heads, rows, kv_len), in at least 32 bits: -inf where not taken.

    And the rows that take nothing, whose scores are 0; and where no weight is.
    """
    q, k, lost = parted(q, k)
    scores = _product(_by_key_head(q, k), k.swapaxes(2, 3)).reshape(*q.shape[:3], k.shape[2]) * scale
    scores = scores if lost is None else jnp.where(lost, jnp.nan, scores)
    visible = jnp.broadcast_to(_visible(selection, fit(selection.mask, frame), first, q.shape[2]), scores.shape)
    taken, constant = visible, jax.lax.stop_gradient(scores)
    for rule in selection.rules:
        taken = taken & RULES[rule.name](constant, visible, *rule.args)
    nothing = ~taken.any(-1, keepdims=True)
    # scores of hidden keys are replaced before softmax, also where a row takes nothing: they may be NaN
    scores = jnp.where(taken, scores, jnp.where(nothing, 0.0, -jnp.inf))
    return scores, nothing, nothing if lost is None else ~taken


def _product(x: Any, y: Any) -> Any:
    """In at least 32 bits: ranks must not be rounded to bfloat16."""
    dtype = jnp.promote_types(y.dtype, jnp.float32)
    return jnp.matmul(x.astype(dtype), y.astype(dtype), precision="highest")


def _by_key_head(array: Any, k: Any) -> Any:
    """(batch, heads, rows, n) as (batch, kv_heads, rows of all heads of the group, n)."""
    return array.reshape(k.shape[0], k.shape[1], -1, array.shape[3])


def _visible(selection: Selection, frame: Fitted, first: Any, rows: int) -> Any:
    """What the mask shows; the last chunk may reach beyond the queries, where it repeats the last one."""
    places = jnp.minimum(first + jnp.arange(rows), frame.q_len - 1)
    if not fits_jax(selection.mask, frame):
        return jnp.asarray(dense(selection.mask, Frame(**frame._asdict())))[:, :, places]
    queries = frame.q_start + places
    batch, heads, keys = (jnp.arange(size) for size in (frame.batch, frame.heads, frame.kv_len))
    return evaluate(
        selection.mask.node,
        batch[:, None, None, None],
        heads[None, :, None, None],
        queries[None, None, :, None],
        keys[None, None, None, :],
    )


def _top_k(scores: Any, visible: Any, k: int) -> Any:
    """Above the k-th highest score all, at it the earliest."""
    ranked = jnp.where(visible, jnp.where(jnp.isnan(scores), jnp.inf, scores), -jnp.inf)
    least = jax.lax.top_k(ranked, min(k, ranked.shape[-1]))[0][..., -1:]
    above, at = ranked > least, (ranked == least) & visible
    room = k - above.sum(-1, keepdims=True)
    return above | (at & (at.cumsum(-1) <= room))


def _top_k_blocks(scores: Any, visible: Any, k: int, size: int) -> Any:
    """The score of a mean key is the mean of the scores of its keys, so hidden keys are left out pair by pair."""
    keys = scores.shape[-1]
    whole = ((0, 0), (0, 0), (0, 0), (0, -keys % size))
    seen = jnp.pad(visible, whole).reshape(*scores.shape[:3], -1, size).sum(-1)
    total = jnp.pad(jnp.where(visible, scores, 0.0), whole).reshape(*scores.shape[:3], -1, size).sum(-1)
    chosen = _top_k(total / jnp.maximum(seen, 1), seen > 0, k)
    return visible & jnp.repeat(chosen, size, axis=-1)[..., :keys]


def _threshold(scores: Any, visible: Any, x: float) -> Any:
    return (scores >= x) | jnp.isnan(scores)


RULES: dict[str, Callable[..., Any]] = {
    "top_k": _top_k,
    "top_k_blocks": _top_k_blocks,
    "threshold": _threshold,
}
