"""Rows of FULL and PARTIAL tiles, each tile judged by its positions inside the frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted
from attnmask.define.language import Node
from attnmask.lower.regions import FULL, PARTIAL, Boxes, Grid, Squares, classify
from attnmask.lower.runs import Runs, check_rows, merged, spread

Ints = NDArray[np.int64]


class Tiling(NamedTuple):
    """Runs of equal tiles; row r is tile row ``r % rows`` of head ``r // rows % heads`` of batch ``r // rows // heads``."""

    grid: Grid
    runs: Runs


def tiling(node: Node, frame: Fitted, q_tile: int, kv_tile: int) -> Tiling:
    """The FULL and PARTIAL tiles of a mask in a frame."""
    grid = Grid(frame, q_tile, kv_tile)
    check_rows(frame.batch * frame.heads * grid.rows)
    full, partial = classify(node, grid)
    pieces = [(*_rows_of(grid, squares), FULL) for squares in full] + [(*_rows_of(grid, partial), PARTIAL)]
    kinds = np.concatenate([np.full(len(row), kind, np.int8) for row, _, _, kind in pieces])
    row, start, stop = (np.concatenate(arrays) for arrays in zip(*(piece[:3] for piece in pieces), strict=True))
    return Tiling(grid, merged(frame.batch * frame.heads * grid.rows, row, start, stop, kinds))


def _rows_of(grid: Grid, squares: Squares) -> tuple[Ints, Ints, Ints]:
    """Regions as one run for each of their tile rows: row, start, stop."""
    first = squares.row * squares.size
    counts = np.minimum(first + squares.size, grid.rows) - first
    row = spread((squares.b * grid.frame.heads + squares.h) * grid.rows + first, counts)
    start = np.repeat(squares.column * squares.size, counts)
    return row, start, np.minimum(start + squares.size, grid.columns)


def boxes_of(tiles: Tiling) -> Boxes:
    """The positions of each PARTIAL tile."""
    runs, grid = tiles.runs, tiles.grid
    partial = runs.kind == PARTIAL
    column = spread(runs.start[partial], runs.length[partial])
    outer, row = np.divmod(np.repeat(runs.row[partial], runs.length[partial]), grid.rows)
    b, h = np.divmod(outer, grid.frame.heads)
    return grid.boxes(Squares(1, b, h, row, column))
