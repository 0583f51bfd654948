"""``tiles``: which blocks of queries and keys a kernel skips, masks, or computes without a mask."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import LoweringError
from attnmask.lower.regions import EMPTY, FULL, PARTIAL, Grid
from attnmask.lower.runs import Runs, merged
from attnmask.lower.tiling import Tiling, tiling

DEFAULT = 128


class Tiles(NamedTuple):
    """Runs of equal tiles in each row of tiles; EMPTY tiles (0) are in no run, PARTIAL is 1, FULL is 2.

    Row r of ``runs`` is tile row ``r % rows`` of head ``r // rows % heads`` of batch ``r // rows // heads``.
    """

    grid: Grid
    runs: Runs

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(batch, heads, tile rows, tile columns)."""
        return (self.grid.frame.batch, self.grid.frame.heads, self.grid.rows, self.grid.columns)

    def count(self, kind: int) -> int:
        """How many tiles are PARTIAL (1), FULL (2) or EMPTY (0)."""
        if kind == EMPTY:
            return int(np.prod(self.shape)) - self.count(PARTIAL) - self.count(FULL)
        return int(self.runs.length[self.runs.kind == kind].sum())

    def dense(self) -> NDArray[np.int8]:
        """The kind of every tile: (batch, heads, tile rows, tile columns)."""
        return self.runs.dense(self.grid.columns).reshape(self.shape)


def lower(mask: Mask, frame: Frame | int, *, tile: int | tuple[int, int] = DEFAULT, edges: str = "hidden") -> Tiles:
    """EMPTY, PARTIAL and FULL tiles, exact, without looking at every pair of positions.

    >>> import attnmask as am
    >>> tiles = am.lower(am.causal() & am.window(5), 12, "tiles", tile=4)
    >>> tiles.dense()[0, 0]
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 1]], dtype=int8)
    >>> am.lower(am.causal(), 1_000_000, "tiles").count(2)  # no pair of positions was stored
    30509766

    Args:
        mask: the mask.
        frame: where it is seen.
        tile: positions along queries and keys per tile: one number, or (queries, keys).
        edges: a tile that reaches beyond the frame counts the positions there as ``"hidden"`` (as block kernels
            do, so it is never FULL), or is ``"cut"`` to the frame.

    Source:
        The blocks are those of torch's ``create_block_mask``, which evaluates every pair.
    """
    q_tile, kv_tile = (tile, tile) if isinstance(tile, int) else tile
    if min(q_tile, kv_tile) < 1 or edges not in ("hidden", "cut"):
        raise LoweringError(
            "tiles are at least 1 position wide, and edges are 'hidden' or 'cut'",
            f"tile={tile}, edges={edges!r}",
            "Write tile=128, or tile=(128, 64)",
        )
    found = tiling(mask.node, fit(mask, frame), q_tile, kv_tile)
    return Tiles(found.grid, found.runs if edges == "cut" else _edges_hidden(found))


def _edges_hidden(tiles: Tiling) -> Runs:
    """The same runs, but tiles that reach beyond the frame are PARTIAL."""
    grid, runs = tiles
    row, start, stop, kind = runs.row, runs.start, runs.stop, runs.kind
    if grid.frame.q_len % grid.q_tile:
        kind = np.where(row % grid.rows == grid.rows - 1, PARTIAL, kind)
    if grid.frame.kv_len % grid.kv_tile:
        last = stop == grid.columns  # the last tile of these runs is split off
        cut = np.where(last, stop - 1, stop)
        row, start, stop, kind = (
            np.concatenate([row, row[last]]),
            np.concatenate([start, cut[last]]),
            np.concatenate([cut, stop[last]]),
            np.concatenate([kind, np.full(int(last.sum()), PARTIAL)]),
        )
    keep = start < stop
    return merged(runs.rows, row[keep], start[keep], stop[keep], kind[keep])
