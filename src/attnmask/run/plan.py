"""How to compute attention under a mask with few large kernel calls over what is visible.

A plan is one call where a kernel knows the mask (everything, a run of keys, causal), a dense mask where most pairs are
visible or there are few of them, and pieces otherwise: full and causal rectangles found in the runs of keys that each
row sees, and blocks of rows, with a mask, for the rest. Costs are counted in pairs that SDPA computes without a mask
in the same time; the figures are measured (``benchmarks/attention.py``).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.intervals import TILE, intervals
from attnmask.lower.regions import PARTIAL
from attnmask.lower.runs import Runs
from attnmask.lower.tiling import tiling
from attnmask.run.pieces import Piece, in_progressions
from attnmask.run.rows import ROW_BLOCKS, cost_of, segments, tile_rows

MOST_LOOKED_AT = 1 << 28  # pairs evaluated to find the pieces
FEW_PAIRS = 1 << 14  # per head: one call with a mask is always the fastest
CALL = 12_000  # pairs that are computed in the time of one more call
DENSE = 1.2  # the cost of a pair under a dense mask


class Plan(NamedTuple):
    """The pieces of a mask in a frame, and what they cost.

    Attributes:
        frame: the frame.
        pieces: what to compute, layer by layer.
        computed: pairs that the pieces compute, over the batches and heads that the mask tells apart.
        visible: pairs that are visible, counted in the same way.
        cost: pairs per head and batch that an unmasked call computes in the time of the pieces.
        calls: kernel calls.
    """

    frame: Fitted
    pieces: tuple[Piece, ...]
    computed: int
    visible: int
    cost: float
    calls: int

    @property
    def single(self) -> Piece | None:
        """The one piece that is everything, if it needs no mask: a kernel call of any library computes it."""
        if len(self.pieces) != 1:
            return None
        piece = self.pieces[0]
        whole = (piece.batch, piece.head, piece.rows, piece.tiles) == (None, None, self.frame.q_len, 1)
        return piece if whole and piece.hidden is None and piece.chosen is None else None


@functools.lru_cache(maxsize=256)
def choice(mask: Mask, frame: Frame, batch: int, heads: int) -> Plan | None:
    """The plan to run for so many batches and heads; None where one call with a dense mask is faster."""
    pairs = frame.q_len * frame.kv_len
    if pairs <= FEW_PAIRS and frame.q_len > 1:
        return None
    found = plan(mask, frame)
    if found is None or found.single is not None:
        return found
    copies = batch * heads / (found.frame.batch * found.frame.heads)
    return found if found.cost * copies + CALL * found.calls < DENSE * batch * heads * pairs else None


@functools.lru_cache(maxsize=64)
def plan(mask: Mask, frame: Frame) -> Plan | None:
    """The plan of a mask in a frame; None where finding it costs more than it saves.

    >>> import attnmask as am
    >>> found = plan(am.causal() & am.documents(lengths=[300, 212]), am.Frame(512))
    >>> [(piece.q_start, piece.rows, piece.causal) for piece in found.pieces]
    [(0, 300, True), (300, 212, True)]
    >>> found.computed == found.visible == 67728
    True

    Args:
        mask: the mask.
        frame: where it is seen.
    """
    fitted = fit(mask, frame)
    looked_at = tiling(mask.node, fitted, TILE, TILE).runs
    partial = looked_at.kind == PARTIAL
    if int(looked_at.length[partial].sum()) * TILE**2 > MOST_LOOKED_AT:
        return None
    runs = intervals(mask.node, fitted).runs
    pieces: list[Piece] = []
    for number in range(fitted.batch * fitted.heads):
        batch, head = divmod(number, fitted.heads)
        place = (batch if fitted.batch > 1 else None, head if fitted.heads > 1 else None)
        pieces += _of_head(part_of(runs, number * fitted.q_len, fitted.q_len), place)
    joined = tuple(in_progressions(pieces))
    cost = sum(cost_of(piece) for piece in joined)
    visible = int(runs.length.sum())
    return Plan(fitted, joined, sum(piece.pairs for piece in joined), visible, cost, len(joined))


def part_of(runs: Runs, first: int, count: int) -> Runs:
    """Some rows of runs."""
    offsets = runs.offsets[first : first + count + 1]
    part = slice(offsets[0], offsets[-1])
    return Runs(offsets - offsets[0], runs.start[part], runs.stop[part], runs.kind[part])


def _of_head(runs: Runs, place: tuple[int | None, int | None]) -> list[Piece]:
    """Full and causal rectangles, and the rows between them in blocks of the size that costs least."""
    pieces: list[Piece] = []
    row = 0
    found = [*segments(runs), None]
    for segment in found:
        stop = runs.rows if segment is None else segment.first
        if row < stop:
            pieces += _blocks(runs, row, stop, place)
        if segment is not None:
            pieces += segment.pieces(place)
            row = segment.stop
    return pieces


def _blocks(runs: Runs, first: int, stop: int, place: tuple[int | None, int | None]) -> list[Piece]:
    choices = [tile_rows(runs, first, stop, size, place) for size in ROW_BLOCKS]
    return min(choices, key=lambda pieces: sum(cost_of(piece) for piece in pieces) + CALL * len(pieces) / 8)
