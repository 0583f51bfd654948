"""Attention over the tiles in which something is visible, in JAX: under jit, grad, vmap and jvp.

Blocks of rows that see equally many blocks of keys are computed together, so that what XLA compiles does not grow with
the mask. Rows are never split: no part of the softmax is merged, and JAX's own derivatives apply.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import evaluate
from attnmask.lower.forms import tiles
from attnmask.lower.grid import fits_jax
from attnmask.lower.runs import spread
from attnmask.run.request import Request, Work

Ints = NDArray[np.int64]

BLOCK = 128  # rows and keys
FEWEST_PAIRS = 1 << 20  # per head, below which what is saved is small beside the seconds that XLA compiles longer
WORTH = 0.5  # of all pairs: measured on the CPU, 0.6 of them take 0.7 of the time of a dense mask, 0.3 take 0.3


class Group(NamedTuple):
    """Blocks of rows that see up to so many blocks of keys.

    Attributes:
        rows: the numbers of the blocks of rows, counted through batches and heads that the mask tells apart.
        keys: the blocks of keys of each (rows, width); unused places hold 0.
        used: how many of them each sees (rows,).
    """

    rows: Ints
    keys: Ints
    used: Ints


class Groups(NamedTuple):
    """All blocks of rows of a mask in a frame, those that see nothing in the last group, which has no keys."""

    frame: Fitted
    size: tuple[int, int]
    groups: tuple[Group, ...]

    @property
    def pairs(self) -> int:
        """Pairs that are computed, over the batches and heads that the mask tells apart."""
        return sum(group.keys.size for group in self.groups) * self.size[0] * self.size[1]


def worth(mask: Mask, frame: Frame) -> bool:
    """Whether the tiles of a mask are so few that computing them alone is faster than a dense mask."""
    if frame.q_len * frame.kv_len < FEWEST_PAIRS or not fits_jax(mask, fit(mask, frame)):
        return False
    found = groups(mask, frame, BLOCK)
    return found.pairs <= WORTH * float(np.prod(found.frame.shape))


@functools.lru_cache(maxsize=64)
def groups(mask: Mask, frame: Frame, block: int) -> Groups:
    """The blocks of rows of a mask by the number of blocks of keys that they see, rounded up to 1, 2, 3, 4, 6, 8, 12 ..."""
    size = (min(block, frame.q_len), min(block, frame.kv_len))
    runs = tiles.lower(mask, frame, tile=size).runs
    seen = spread(runs.start, runs.length)  # the blocks of keys of all rows, one after the other
    used = np.bincount(np.repeat(runs.row, runs.length), minlength=runs.rows)
    first = np.cumsum(used) - used
    widths = np.array([0, *sorted({step << power for step in (1, 3) for power in range(31)} - {0})])
    width = np.minimum(widths[np.searchsorted(widths, used)], used.max(initial=0))
    found = []
    for one in np.unique(width)[::-1].tolist():
        rows = np.flatnonzero(width == one)
        places = np.minimum(np.arange(one), used[rows, None] - 1) + first[rows, None]
        found.append(Group(rows, seen[places] if one else places, used[rows]))
    return Groups(fit(mask, frame), size, tuple(found))


def work(request: Request) -> Work:
    """Two products per group."""
    found = groups(request.mask, request.frame, BLOCK)
    computed = found.pairs * request.copies // (found.frame.batch * found.frame.heads)
    blocks, count = f"{found.size[0]} x {found.size[1]}", sum(group.keys.size > 0 for group in found.groups)
    pieces = f"{count} group{'' if count == 1 else 's'} of rows that see equally many blocks of {blocks}"
    return Work(count, computed, f"{count} softmax{'' if count == 1 else 'es'} over {pieces}")


def attend(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float) -> Any:
    """The output (batch, heads, q_len, dim_v)."""
    return _attend(q, k, v, mask, frame, scale, BLOCK)


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _attend(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float, block: int) -> Any:
    found = groups(mask, frame, block)
    group_size = q.shape[1] // k.shape[1]
    rows = _blocks(q.reshape(q.shape[0], k.shape[1], group_size, *q.shape[2:]), found.size[0], found.frame)
    keys, values = (_blocks(array[:, :, None], found.size[1], found.frame) for array in (k, v))
    shared = group_size if found.frame.heads > 1 else 1
    parts = [_group(rows, keys, values, mask, found, group, scale, shared) for group in found.groups]
    order = _unknown(np.argsort(np.concatenate([group.rows for group in found.groups])))
    joined = jnp.concatenate(parts, axis=3)[:, :, :, order]
    return _unblocked(joined, q, v, found.frame)


def _blocks(array: Any, size: int, frame: Fitted) -> Any:
    """(batch, kv_heads, group, length, dim) as (..., blocks, size, dim), batches and heads that differ among the blocks."""
    batch, kv_heads, group, length, dim = array.shape
    missing = -length % size
    padded = jnp.pad(array, ((0, 0), (0, 0), (0, 0), (0, missing), (0, 0))) if missing else array
    if frame.heads > 1:
        of_batch = padded.reshape(batch, 1, 1, -1, size, dim)
    else:
        of_batch = padded.reshape(batch, kv_heads, group, -1, size, dim)
    if frame.batch == 1:
        return of_batch
    moved = jnp.moveaxis(of_batch, 0, 2)
    return moved.reshape(1, *moved.shape[:2], -1, size, dim)


def _unblocked(blocks: Any, q: Any, v: Any, frame: Fitted) -> Any:
    """The blocks of rows as (batch, heads, q_len, dim_v)."""
    batch, heads, q_len, _ = q.shape
    if frame.batch > 1:
        blocks = blocks.reshape(*blocks.shape[1:3], batch, -1, *blocks.shape[4:])
        blocks = jnp.moveaxis(blocks, 2, 0)
    return blocks.reshape(batch, heads, -1, v.shape[3])[:, :, :q_len]


def _group(
    rows: Any, keys: Any, values: Any, mask: Mask, found: Groups, group: Group, scale: float, shared: int
) -> Any:
    """The output of the rows of a group (batch, kv_heads, group, blocks, rows, dim_v)."""
    frame, (height, width) = found.frame, found.size
    at = np.unravel_index(group.rows, (frame.batch, frame.heads, -(-frame.q_len // height)))
    columns = -(-frame.kv_len // width)
    of_head = (at[0] * -(-frame.heads // shared) + at[1] // shared) * columns
    if not group.keys.size:
        return jnp.zeros((*rows.shape[:3], len(group.rows), height, values.shape[-1]), rows.dtype)
    queries, taken = rows[:, :, :, _unknown(group.rows)], _unknown(group.keys + of_head[:, None])
    seen_keys, seen_values = (_side_by_side(array[:, :, 0, taken]) for array in (keys, values))
    visible = _visible(mask, found, group, at)
    empty = ~visible.any(-1, keepdims=True)
    scores = scale * _product("bhgtqd,bhtkd->bhgtqk", queries, seen_keys)
    weights = jax.nn.softmax(jnp.where(visible | empty, scores, -jnp.inf), axis=-1)
    output = _product("bhgtqk,bhtkd->bhgtqd", weights.astype(values.dtype), seen_values)
    return jnp.where(empty, 0.0, output).astype(queries.dtype)


def _side_by_side(blocks: Any) -> Any:
    """The blocks of keys of each block of rows as one (batch, kv_heads, rows, keys, dim)."""
    return blocks.reshape(*blocks.shape[:3], -1, blocks.shape[-1])


def _product(axes: str, x: Any, y: Any) -> Any:
    """Sums have at least 32 bits."""
    return jnp.einsum(axes, x, y, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def _unknown(numbers: Any) -> Any:
    """Numbers that XLA must not take for constants: it would compute whole masks and gradients while it compiles."""
    return lax.optimization_barrier(jnp.asarray(numbers, jnp.int32))


def _visible(mask: Mask, found: Groups, group: Group, at: Any) -> Any:
    """What the rows of a group see of the keys of their blocks (blocks, rows, keys), with its places in the frame."""
    frame, (height, width) = found.frame, found.size
    batch, head, row, block, used = map(_unknown, (*at, group.keys, group.used))
    q = row[:, None, None] * height + jnp.arange(height)[:, None]
    k = (block[:, :, None] * width + jnp.arange(width)).reshape(len(group.rows), 1, -1)
    there = jnp.repeat(jnp.arange(group.keys.shape[1]), width) < used[:, None, None]
    inside = there & (k < frame.kv_len)
    seen = evaluate(mask.node, batch[:, None, None], head[:, None, None], q + frame.q_start, k)
    return jnp.broadcast_to(inside & seen, (len(group.rows), height, inside.shape[-1]))
