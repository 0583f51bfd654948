"""Blocks of rows, each with a list of the keys that some of its rows see: what the compiled kernel is given.

A block's list has one entry for each run of keys that the same of its rows see, found by sorting where runs begin and
end. A key costs as much whether one row of a block sees it or all; rows that see alike should share a block.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.runs import Ints, Runs, merged, spread
from attnmask.lower.visible import blocked, patches, visible_runs

ENOUGH = 0.6  # of the computed pairs visible: rows are not reordered
SAMPLED = 32  # blocks that are looked at to compare orders of rows


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks of a mask in a frame.

    Args:
        rows: the rows of each block (batch, heads, blocks, size), -1 where a block has fewer; a size-1 axis where
            nothing varies.
        offsets: block i has the entries ``offsets[i] .. offsets[i + 1]``.
        start: the first key of each entry.
        stop: its last key, not included.
        seen: by one bit per row of the block, which of them see the keys.
        visible: pairs that are visible, over the batches and heads of ``rows``.
        kv_len: the number of keys.
        grouped: whether a block is computed as a group of few rows.
    """

    rows: NDArray[np.int32]
    offsets: Ints
    start: NDArray[np.int32]
    stop: NDArray[np.int32]
    seen: NDArray[np.uint32]
    visible: int
    kv_len: int
    grouped: bool = False

    @functools.cached_property
    def addresses(self) -> tuple[int, ...]:
        """Where the arrays lie, for the kernel."""
        return tuple(array.ctypes.data for array in (self.rows, self.offsets, self.start, self.stop, self.seen))

    @property
    def computed(self) -> int:
        """Pairs that are computed, over the batches and heads of ``rows``."""
        return int((self.stop - self.start).sum(dtype=np.int64)) * int(self.rows.shape[3])

    @functools.cached_property
    def by_key(self) -> Blocks:
        """The same turned round: a block is one key, and lists the rows that see it."""
        batch, heads, blocks, size = self.rows.shape
        length = (self.stop - self.start).astype(np.int64)
        block = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        entry, lane = np.nonzero(self.seen[:, None] >> np.arange(size) & 1)
        row = np.repeat(self.rows.reshape(-1, size)[block[entry], lane], length[entry])
        key = spread(self.start[entry].astype(np.int64), length[entry])
        key += np.repeat(block[entry] // blocks, length[entry]) * self.kv_len
        order = np.argsort(key, kind="stable")
        offsets = np.searchsorted(key[order], np.arange(batch * heads * self.kv_len + 1))
        keys = np.tile(np.arange(self.kv_len, dtype=np.int32), (batch, heads, 1))[..., None]
        start = row[order]
        return Blocks(
            keys,
            offsets,
            start,
            start + 1,
            np.ones(len(start), np.uint32),
            self.visible,
            int(row.max(initial=-1)) + 1,
            True,
        )

    def dense(self, q_len: int, kv_len: int) -> NDArray[np.bool_]:
        """True where visible (batch, heads, q_len, kv_len), as the lists say it."""
        batch, heads, blocks, size = self.rows.shape
        block = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        entry, lane = np.nonzero(self.seen[:, None] >> np.arange(size) & 1)
        row = self.rows.reshape(-1, size)[block[entry], lane] + block[entry] // blocks * q_len
        runs = merged(batch * heads * q_len, row, self.start[entry].astype(int), self.stop[entry].astype(int), 1)
        visible: NDArray[np.bool_] = runs.dense(kv_len).reshape(batch, heads, q_len, kv_len) == 1
        return visible


@functools.lru_cache(maxsize=64)
def blocks_of(mask: Mask, frame: Frame, size: int, grouped: bool = False) -> Blocks | None:
    """The blocks of a mask in a frame; None where finding them costs more than it saves.

    >>> import attnmask as am
    >>> found = blocks_of(am.causal(), am.Frame(4), 2)
    >>> found.rows[0, 0].tolist(), found.offsets.tolist()
    ([[0, 1], [2, 3]], [0, 2, 4])
    >>> list(zip(found.start.tolist(), found.stop.tolist(), map(bin, found.seen)))
    [(0, 1, '0b11'), (1, 2, '0b10'), (0, 3, '0b11'), (3, 4, '0b10')]

    Args:
        mask: the mask.
        frame: where it is seen.
        size: rows per block, at most 32.
        grouped: whether they will be computed as groups, of rows in order.
    """
    found = visible_runs(mask, frame)
    if found is None:
        return None
    fitted, runs = found
    heads = fitted.batch * fitted.heads
    in_order = _of_heads(blocked(np.arange(fitted.q_len), size), fitted.q_len, heads)
    rows = in_order if grouped else _best(runs, in_order, fitted.q_len)
    offsets, start, stop, seen = _listed(runs, rows.reshape(-1, size))
    numbers = np.where(rows < 0, -1, rows % fitted.q_len).astype(np.int32)
    shaped = numbers.reshape(fitted.batch, fitted.heads, -1, size)
    return Blocks(shaped, offsets, start, stop, seen, int(runs.length.sum()), fitted.kv_len, grouped)


def _best(runs: Runs, in_order: Ints, q_len: int) -> Ints:
    """The rows of each block (heads, blocks, size), as rows of ``runs``, in the order that computes the fewest pairs."""
    best, (heads, _, size) = in_order, in_order.shape
    least, visible = _cost(runs, best)
    if visible >= ENOUGH * least:
        return best
    for order in patches(runs, q_len, size):
        rows = _of_heads(blocked(order, size), q_len, heads)
        cost = _cost(runs, rows)[0]
        if cost < least:
            best, least = rows, cost
    return best


def _of_heads(blocks: Ints, q_len: int, heads: int) -> Ints:
    """The same blocks for each head (heads, blocks, size), whose rows stand one after another."""
    first = q_len * np.arange(heads)[:, None, None]
    return np.where(blocks < 0, -1, blocks + first)


def _cost(runs: Runs, rows: Ints) -> tuple[float, int]:
    """Pairs that are computed and that are visible in some of the blocks."""
    blocks = rows.reshape(-1, rows.shape[2])
    sample = blocks[:: max(len(blocks) // SAMPLED, 1)]
    _, start, stop, _ = _listed(runs, sample)
    of_rows = sample[sample >= 0]
    length = np.concatenate([[0], np.cumsum(runs.length)])
    visible = (length[runs.offsets[of_rows + 1]] - length[runs.offsets[of_rows]]).sum()
    return float((stop - start).sum(dtype=np.int64) * rows.shape[2]), int(visible)


def _listed(runs: Runs, blocks: Ints) -> tuple[Ints, NDArray[np.int32], NDArray[np.int32], NDArray[np.uint32]]:
    """Offsets, first keys, last keys and seeing rows of the lists of blocks (blocks, size)."""
    block, lane = np.nonzero(blocks >= 0)
    row = blocks[block, lane]
    counts = np.diff(runs.offsets)[row]
    chosen = spread(runs.offsets[row], counts)
    bit, block = np.repeat(np.int64(1) << lane, counts), np.repeat(block, counts)
    key = np.concatenate([runs.start[chosen], runs.stop[chosen]])
    widest = int(key.max(initial=0)) + 1
    place = np.concatenate([block, block]) * widest + key
    order = np.argsort(place)
    place, key = place[order], key[order]
    # between an end and the next; 0 after the last of a block
    seen = np.cumsum(np.concatenate([bit, -bit])[order])[:-1]
    entry = np.flatnonzero((seen != 0) & (place[1:] > place[:-1]))
    offsets = np.searchsorted(place[:-1][entry], np.arange(len(blocks) + 1) * widest)
    return offsets, key[entry].astype(np.int32), key[entry + 1].astype(np.int32), seen[entry].astype(np.uint32)
