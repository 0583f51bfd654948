"""For each query the runs of keys that it sees, any number of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted
from attnmask.define.language import Node
from attnmask.lower.candidates import among, candidates
from attnmask.lower.grid import over
from attnmask.lower.regions import FULL, PARTIAL, evaluated
from attnmask.lower.runs import Runs, check_rows, merged, spread
from attnmask.lower.tiling import Tiling, boxes_of, tiling

FEW = 1 << 15  # pairs of a frame that are looked at one by one faster than they are tiled
TILE = 32  # small tiles, so that few hidden positions are looked at


class Intervals(NamedTuple):
    """Row r of ``runs`` is query row ``r % q_len`` of head ``r // q_len % heads`` of batch ``r // q_len // heads``."""

    frame: Fitted
    runs: Runs

    def dense(self) -> NDArray[np.bool_]:
        """Every position: (batch, heads, q_len, kv_len)."""
        return self.runs.dense(self.frame.kv_len).astype(bool).reshape(self.frame.shape)


def intervals(node: Node, frame: Fitted) -> Intervals:
    """The visible keys of each query as runs, in order and apart."""
    found = intervals_within(node, frame, None)
    assert found is not None
    return found


def intervals_within(node: Node, frame: Fitted, most: int | None) -> Intervals | None:
    """The same; None where more than ``most`` pairs would have to be looked at."""
    check_rows(frame.batch * frame.heads * frame.q_len)
    pairs = candidates(node, frame)
    if pairs is not None:
        return _among(node, frame, pairs)
    if frame.batch * frame.heads * frame.q_len * frame.kv_len <= FEW:
        return _everywhere(node, frame)
    tiles = tiling(node, frame, TILE, TILE)
    looked_at = TILE**2 * int(tiles.runs.length[tiles.runs.kind == PARTIAL].sum())
    if most is not None and looked_at > most:
        return None
    pieces = [_full_pieces(tiles), *_partial_pieces(node, tiles)]
    row, start, stop = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    return Intervals(frame, merged(frame.batch * frame.heads * frame.q_len, row, start, stop, 1))


def _everywhere(node: Node, frame: Fitted) -> Intervals:
    """From every position, where there are few."""
    visible = over(node, frame, np.arange)
    rows = np.broadcast_to(np.asarray(visible, bool), frame.shape).reshape(-1, frame.kv_len)
    row, start, stop = _runs_in(rows)
    return Intervals(frame, merged(len(rows), row, start, stop, 1))


def _runs_in(visible: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """The runs of True along the last axis: the place on each axis before it, start and stop."""
    edges = np.diff(visible.astype(np.int8), axis=-1, prepend=0, append=0)  # 1 a start, -1 a stop
    return (*np.nonzero(edges == 1), np.nonzero(edges == -1)[-1])


def _among(node: Node, frame: Fitted, pairs: NDArray[np.int64]) -> Intervals:
    """The visible ones of a few pairs, looked at one by one in every batch and head."""
    row, key = np.divmod(pairs, frame.kv_len)
    number, place = np.nonzero(among(node, frame, pairs))
    start = key[place]
    rows = number * frame.q_len + row[place]
    return Intervals(frame, merged(frame.batch * frame.heads * frame.q_len, rows, start, start + 1, 1))


def _full_pieces(tiles: Tiling) -> tuple[NDArray[np.int64], ...]:
    """Every query row of the FULL runs: row, start, stop."""
    full = tiles.runs.kind == FULL
    frame = tiles.grid.frame
    outer, tile_row = np.divmod(tiles.runs.row[full], tiles.grid.rows)
    first = tile_row * TILE
    counts = np.minimum(first + TILE, frame.q_len) - first
    start, stop = (np.repeat(ends[full] * TILE, counts) for ends in (tiles.runs.start, tiles.runs.stop))
    return spread(outer * frame.q_len + first, counts), start, np.minimum(stop, frame.kv_len)


def _partial_pieces(node: Node, tiles: Tiling) -> list[tuple[NDArray[np.int64], ...]]:
    """The runs inside PARTIAL tiles, found position by position: row, start, stop."""
    frame, boxes = tiles.grid.frame, boxes_of(tiles)
    pieces: list[tuple[NDArray[np.int64], ...]] = []
    for chosen, visible, inside in evaluated(node, boxes):
        box, row, start, stop = _runs_in(visible & inside)
        part = boxes.take(chosen)
        outer = (part.b * frame.heads + part.h) * frame.q_len + part.q_first - frame.q_start
        pieces.append((outer[box] + row, part.k_first[box] + start, part.k_first[box] + stop))
    return pieces
