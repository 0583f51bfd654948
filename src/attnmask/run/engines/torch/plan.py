"""How to compute attention under a mask with few large kernel calls over what is visible.

A plan is one call where a kernel knows the mask (everything, a run of keys, causal), a dense mask where most pairs are
visible or there are few of them, and pieces otherwise: full and causal rectangles found in the runs of keys that each
row sees, and blocks of rows, with a mask, for the rest. Where each row sees few keys that other rows do not see, as in
a graph, the visible pairs are computed one by one. ``cost.py`` has the measured figures that decide.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from attnmask.define.fit import Fitted
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.runs import Runs
from attnmask.run.engines.torch.cost import DENSE, EDGE, EDGES, FORWARD, TRAINING
from attnmask.run.engines.torch.pieces import Piece, in_progressions
from attnmask.run.engines.torch.rows import layout_of
from attnmask.run.visible import visible_runs

FEW_PAIRS = 1 << 14  # per head: one call with a mask is always the fastest


class Plan(NamedTuple):
    """The pieces of a mask in a frame, and what they cost.

    Attributes:
        frame: the frame.
        pieces: what to compute, layer by layer.
        edges: the visible pairs, to be computed one by one, where that is faster than pieces; row r of these runs is
            query row ``r % q_len`` of head ``r // q_len % heads`` of batch ``r // q_len // heads``.
        computed: pairs that are computed, over the batches and heads that the mask tells apart.
        visible: pairs that are visible, counted in the same way.
        cost: pairs per head and batch that an unmasked call computes in the same time.
        calls: kernel calls.
        kept: what an engine keeps with the plan between calls.
    """

    frame: Fitted
    pieces: tuple[Piece, ...]
    edges: Runs | None
    computed: int
    visible: int
    cost: float
    calls: int
    kept: dict[Any, Any]

    @property
    def gathers(self) -> bool:
        """Whether any piece takes its keys by number."""
        return any(piece.chosen is not None for piece in self.pieces)

    @property
    def single(self) -> Piece | None:
        """The one piece that is everything, if it needs no mask: a kernel call of any library computes it."""
        if len(self.pieces) != 1:
            return None
        piece = self.pieces[0]
        whole = (piece.batch, piece.head, piece.rows, piece.tiles) == (None, None, self.frame.q_len, 1)
        return piece if whole and piece.hidden is None and piece.chosen is None else None


@functools.lru_cache(maxsize=256)
def choice(mask: Mask, frame: Frame, batch: int, heads: int, training: bool = False) -> Plan | None:
    """The plan to run for so many batches and heads; None where one call with a dense mask is faster."""
    pairs = frame.q_len * frame.kv_len
    if pairs <= FEW_PAIRS and frame.q_len > 1:
        return None
    found = plan(mask, frame, training)
    if found is None or found.single is not None:
        return found
    copies = batch * heads / (found.frame.batch * found.frame.heads)
    call = (TRAINING if training else FORWARD).call
    return found if found.cost * copies + call * found.calls < DENSE * batch * heads * pairs else None


@functools.lru_cache(maxsize=64)
def plan(mask: Mask, frame: Frame, training: bool = False) -> Plan | None:
    """The plan of a mask in a frame; None where finding it costs more than it saves.

    >>> import attnmask as am
    >>> found = plan(am.documents(lengths=[300, 212]), am.Frame(512))
    >>> [(piece.q_start, piece.rows, piece.k_start, piece.keys) for piece in found.pieces]
    [(0, 300, 0, 300), (300, 212, 300, 212)]
    >>> found.computed == found.visible == 134944
    True

    Args:
        mask: the mask.
        frame: where it is seen.
        training: whether there will be a backward pass; blocks of few rows cost more there.
    """
    found = visible_runs(mask, frame)
    return None if found is None else _planned(*found, training)


def _planned(frame: Fitted, runs: Runs, training: bool) -> Plan:
    """Pieces, or edges where they cost less."""
    visible, heads = int(runs.length.sum()), frame.batch * frame.heads
    costs = TRAINING if training else FORWARD
    layouts = [layout_of(part_of(runs, number * frame.q_len, frame.q_len), costs) for number in range(heads)]
    one_by_one = EDGE * visible + EDGES * heads
    if one_by_one < sum(layout.cost for layout in layouts):
        return Plan(frame, (), runs, visible, visible, one_by_one, heads, {})
    pieces: list[Piece] = []
    for number, layout in enumerate(layouts):
        batch, head = divmod(number, frame.heads)
        pieces += layout.pieces((batch if frame.batch > 1 else None, head if frame.heads > 1 else None))
    joined = tuple(in_progressions(pieces, costs.together))
    cost = sum(costs.of(piece) for piece in joined)
    return Plan(frame, joined, None, sum(piece.pairs for piece in joined), visible, cost, len(joined), {})


def part_of(runs: Runs, first: int, count: int) -> Runs:
    """Some rows of runs."""
    offsets = runs.offsets[first : first + count + 1]
    part = slice(offsets[0], offsets[-1])
    return Runs(offsets - offsets[0], runs.start[part], runs.stop[part], runs.kind[part])
