"""How much of a frame is visible, counted on tiles: exact, and without an array of q_len x kv_len."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import LATER, Mask
from attnmask.lower.candidates import among, candidates
from attnmask.lower.regions import FULL, evaluated
from attnmask.lower.tiling import Tiling, boxes_of, tiling

TILE = 32


def count(mask: Mask, frame: Frame | int) -> int:
    """Visible pairs of the dense mask."""
    fitted = fit(mask, frame)
    pairs = candidates(mask.node, fitted)
    if pairs is not None:
        return int(among(mask.node, fitted, pairs).sum())
    tiles = tiling(mask.node, fitted, TILE, TILE)
    inside = sum(int((visible & in_box).sum()) for _, visible, in_box in evaluated(mask.node, boxes_of(tiles)))
    return _full_positions(tiles) + inside


def density(mask: Mask, frame: Frame | int) -> float:
    """Visible pairs over all pairs."""
    return count(mask, frame) / math.prod(fit(mask, frame).shape)


def empty_rows(mask: Mask, frame: Frame | int) -> NDArray[np.bool_]:
    """Rows without a visible key: boolean (batch, heads, q_len)."""
    fitted = fit(mask, frame)
    pairs = candidates(mask.node, fitted)
    if pairs is not None:
        return _empty_among(mask, fitted, pairs)
    tiles = tiling(mask.node, fitted, TILE, TILE)
    sees = np.zeros((fitted.batch, fitted.heads, tiles.grid.rows * TILE), bool)  # up to whole tiles
    by_tile = sees.reshape(-1, TILE)
    by_tile[tiles.runs.row[tiles.runs.kind == FULL]] = True
    boxes = boxes_of(tiles)
    for chosen, visible, inside in evaluated(mask.node, boxes):
        part = boxes.take(chosen)
        row = (part.b * fitted.heads + part.h) * tiles.grid.rows + (part.q_first - fitted.q_start) // TILE
        found = (visible & inside).any(2)  # (boxes, rows of the largest box)
        box, place = np.nonzero(found)
        by_tile[row[box], place] = True
    return np.logical_not(sees[..., : fitted.q_len])


def _empty_among(mask: Mask, frame: Fitted, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    empty = np.ones((frame.batch * frame.heads, frame.q_len), bool)
    outer, place = np.nonzero(among(mask.node, frame, pairs))
    empty[outer, pairs[place] // frame.kv_len] = False
    return empty.reshape(frame.batch, frame.heads, frame.q_len)


def _full_positions(tiles: Tiling) -> int:
    frame, full = tiles.grid.frame, tiles.runs.kind == FULL
    first = tiles.runs.row[full] % tiles.grid.rows * TILE
    rows = np.minimum(first + TILE, frame.q_len) - first
    columns = np.minimum(tiles.runs.stop[full] * TILE, frame.kv_len) - tiles.runs.start[full] * TILE
    return int((rows * columns).sum())


LATER["count"] = count
LATER["density"] = density
LATER["empty_rows"] = empty_rows
