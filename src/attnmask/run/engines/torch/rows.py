"""Pieces from the runs of keys that each row sees: rows that see alike as long blocks, all others as short ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attnmask.lower.runs import Runs, merged, spread
from attnmask.run.engines.torch.cost import Costs
from attnmask.run.engines.torch.pieces import Bools, Ints, Piece

ROW_BLOCKS = (32, 64, 96, 128, 192, 256, 384)  # rows per block that are tried
FEWEST_ROWS = (32, 96, 1 << 62)  # that must see alike to get blocks of their own; the last says that none do
KNOWN = 1.35  # how much dearer than many calls one that knows the mask may seem: many also wait for each other
WORTH_A_CALL = 2048  # keys that all rows of a block see, to compute them without a mask
SAMPLED = 6  # blocks that are looked at to find the cost of a size
SHARED_BY = 8  # heads that are expected to share a call

Place = tuple[int | None, int | None]  # batch and head, None for all


class Block(NamedTuple):
    """Rows ``first .. stop``, the spans of keys ``low .. high`` that they see, and how many of those any row sees."""

    first: int
    stop: int
    spans: tuple[tuple[int, int], ...]
    seen: int

    @property
    def shape(self) -> tuple[int, ...]:
        """What blocks have in common that may be computed in one call."""
        return (self.stop - self.first, *(high - low for low, high in self.spans))

    def cost(self, costs: Costs) -> tuple[float, bool]:
        """The cost of its spans, or of its keys gathered if that is less; and whether it is."""
        rows = self.stop - self.first
        of_spans = sum(costs.block(rows, high - low, layer=layer) for layer, (low, high) in enumerate(self.spans))
        gathered = costs.block(rows, self.seen, gathered=True)
        return min(of_spans, gathered), gathered < of_spans


class Layout(NamedTuple):
    """The regions of one head; those of rows of one residue class with the class: first row, first key and spacing."""

    regions: tuple[tuple[_Region, tuple[int, int, int]], ...]

    @property
    def cost(self) -> float:
        """Pairs that are computed in the same time without a mask; an estimate."""
        return sum(region.cost for region, _ in self.regions)

    def pieces(self, place: Place) -> list[Piece]:
        """The pieces of all regions."""
        return [piece.spaced(*of) for region, of in self.regions for piece in region.pieces(place)]


def layout_of(runs: Runs, costs: Costs) -> Layout:
    """The cheapest regions; rows that see keys of one residue class only may be laid out class by class."""
    whole = Layout(tuple((region, (0, 0, 1)) for region in _cheapest(runs, costs)))
    spacing = _spacing(runs)
    if spacing == 1:
        return whole
    classes = Layout(tuple(pair for residue in range(spacing) for pair in _of_class(runs, residue, spacing, costs)))
    return min(whole, classes, key=lambda layout: layout.cost)


def _cheapest(runs: Runs, costs: Costs) -> list[_Region]:
    """With blocks of their own for as many rows that see alike as pays."""
    alike = _alike(runs)
    cuts = {tuple(_regions(runs.rows, alike, fewest)): None for fewest in FEWEST_ROWS}
    plans = [[_Region(runs, first, stop, costs) for first, stop in regions] for regions in cuts]
    return min(plans, key=lambda regions: sum(region.cost for region in regions))


def _alike(runs: Runs) -> Ints:
    """The rows first .. stop (n, 2) that see alike: as many runs, each of which moves and grows evenly from row to row."""
    counts = np.diff(runs.offsets)
    if runs.rows < 2:
        return np.zeros((0, 2), np.int64)
    as_many = counts[:-1] == counts[1:]  # rows i and i + 1
    row = np.repeat(np.arange(runs.rows), counts)
    following = np.minimum(np.arange(len(row)) + counts[row], max(len(row) - 1, 0))
    steps = np.stack([ends[following] - ends for ends in (runs.start, runs.stop)])  # of each run, to the next row
    changes = np.append((steps[:, following] != steps).any(0), False)  # False for the sums of empty rows
    changing = np.add.reduceat(changes, np.minimum(runs.offsets[:-1], len(changes) - 1)) > 0
    even = as_many[:-1] & as_many[1:] & ~(changing & (counts > 0))[:-2]  # rows i, i + 1 and i + 2
    edges = np.flatnonzero(np.diff(even, prepend=False, append=False))
    return np.stack([edges[::2], edges[1::2] + 2], axis=1)


def _regions(rows: int, alike: Ints, fewest: int) -> Iterator[tuple[int, int]]:
    """Rows that see alike, if there are enough of them, and the rows between."""
    row = 0
    for first, stop in alike[alike[:, 1] - alike[:, 0] >= fewest].tolist():
        begin = max(first, row)
        if stop - begin < fewest:
            continue
        if row < begin:
            yield row, begin
        yield begin, stop
        row = stop
    if row < rows:
        yield row, rows


class _Region:
    """Rows that are cut into blocks of one size: the size that costs least, or one call that knows the mask."""

    def __init__(self, runs: Runs, first: int, stop: int, costs: Costs) -> None:
        self.runs, self.first, self.stop, self.costs = runs, first, stop, costs
        sizes = sorted(
            {min(size, stop - first) for size in ROW_BLOCKS} | ({stop - first} if self._constant() else set())
        )
        self.cost, self.size = min((self._cost(size), size) for size in sizes)
        self.known: list[Piece] = []
        causal = self._causal()
        cost = sum(costs.of(piece) + costs.call / SHARED_BY for piece in causal) / KNOWN
        if causal and cost <= self.cost:
            self.known, self.cost = causal, cost

    def pieces(self, place: Place) -> list[Piece]:
        """The blocks as pieces, or what a kernel knows."""
        batch, head = place
        if self.known:
            return [piece._replace(batch=batch, head=head) for piece in self.known]
        return [
            piece
            for block in self._blocks(self.size)
            for piece in _pieces(self.runs, block, place, block.cost(self.costs)[1])
        ]

    def _constant(self) -> bool:
        """Whether all rows see one run of keys."""
        ends = self._single()
        return ends is not None and bool((ends == ends[:, :1]).all())

    def _causal(self) -> list[Piece]:
        """A causal square and the full rectangle before it, where each row sees one key more than the row before."""
        ends, rows = self._single(), self.stop - self.first
        if rows < 2 or ends is None or not ((ends[0] == ends[0, 0]).all() and (np.diff(ends[1]) == 1).all()):
            return []
        start, stop = ends[:, 0].tolist()
        square = Piece(None, None, 0, self.first, rows, stop - 1, rows, causal=True)
        before = Piece(None, None, 1, self.first, rows, start, stop - 1 - start)
        return [square, before] if before.keys else [square]

    def _single(self) -> Ints | None:
        """Start and stop (2, rows) where each row sees one run."""
        offsets = self.runs.offsets[self.first : self.stop + 1]
        if (np.diff(offsets) != 1).any():
            return None
        part = slice(offsets[0], offsets[-1])
        return np.stack([self.runs.start[part], self.runs.stop[part]])

    def _blocks(self, size: int, step: int = 1) -> Iterator[Block]:
        for first in range(self.first + step // 2 * size, self.stop, size * step):  # from the middle of each step
            block = block_of(self.runs, first, min(first + size, self.stop), self.costs)
            if block is not None:
                yield block

    def _cost(self, size: int) -> float:
        """From some of the blocks; equal blocks share their calls."""
        count = -(-(self.stop - self.first) // size)
        step = max(count // SAMPLED, 1)
        sample = list(self._blocks(size, step))
        if not sample:
            return 0.0
        equal = len({block.shape for block in sample[:-1]}) <= 1
        costs = sum(self._cost_of(block, equal) for block in sample)
        looked_at = sum(block.stop - block.first for block in sample) / (self.stop - self.first)
        return costs / min(looked_at, 1.0)

    def _cost_of(self, block: Block, equal: bool) -> float:
        """With its share of a call, and with the keys that were not loaded for the block before, in the same call."""
        cost, rows = block.cost(self.costs)[0], block.stop - block.first
        call = self.costs.call / SHARED_BY
        if equal:
            longest = max(high - low for low, high in block.spans)
            return cost + call * longest / self.costs.together + self.costs.loaded * min(rows, block.seen)
        return cost + call * len(block.spans) + self.costs.loaded * block.seen


def block_of(runs: Runs, first: int, stop: int, costs: Costs) -> Block | None:
    """What some rows see; None if they see nothing.

    A gap between keys parts two spans if computing its pairs would cost more than one more part of the rows.
    """
    part = slice(runs.offsets[first], runs.offsets[stop])
    order = np.argsort(runs.start[part], kind="stable")
    starts, stops = runs.start[part][order], np.maximum.accumulate(runs.stop[part][order])
    if not len(starts):
        return None
    hidden = np.maximum(starts[1:] - stops[:-1], 0)
    cuts = np.flatnonzero(hidden >= costs.row + costs.merged)
    low, high = np.append(starts[0], starts[cuts + 1]), np.append(stops[cuts], stops[-1])
    seen = int(stops[-1] - starts[0] - hidden.sum())
    return Block(first, stop, tuple(zip(low.tolist(), high.tolist(), strict=True)), seen)


def _pieces(runs: Runs, block: Block, place: Place, gathered: bool) -> list[Piece]:
    """The spans of a block, or its keys gathered."""
    rows = block.stop - block.first
    if gathered:
        keys = np.concatenate([np.arange(*span) for span in block.spans])
        visible = _visible(runs, block, keys)
        seen = visible.any(0)
        piece = Piece(*place, 0, block.first, rows, int(keys[0]), int(seen.sum()), chosen=keys[seen][None])
        return [piece._replace(hidden=_hidden(visible[:, seen]))]
    parts = [part for span in block.spans for part in _parts(runs, block, span)]
    return [
        Piece(*place, layer, block.first, rows, low, high - low, hidden=_hidden(visible))
        for layer, (low, high, visible) in enumerate(parts)
    ]


def _parts(runs: Runs, block: Block, span: tuple[int, int]) -> Iterator[tuple[int, int, Bools | None]]:
    """First and last key and the visible pairs of a span (None: all), the keys at its start that all rows see apart.

    These need no mask; it must be many of them.
    """
    low, high = span
    part = slice(runs.offsets[block.first], runs.offsets[block.stop])
    inside = (runs.start[part] >= low) & (runs.start[part] < high)
    if int(runs.length[part][inside].sum()) == (block.stop - block.first) * (high - low):
        yield low, high, None
        return
    visible = _visible(runs, block, np.arange(low, high))
    cut = int(np.argmin(visible.all(0)))  # some key is hidden from some row
    if cut >= WORTH_A_CALL:
        yield low, low + cut, None
        yield low + cut, high, visible[:, cut:]
    else:
        yield low, high, visible


def _hidden(visible: Bools | None) -> Bools | None:
    return None if visible is None or visible.all() else ~visible


def _visible(runs: Runs, block: Block, keys: Ints) -> Bools:
    """What rows see of keys (rows, keys), the keys in order."""
    offsets = runs.offsets[block.first : block.stop + 1]
    part = slice(offsets[0], offsets[-1])
    row = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    begin, end = np.searchsorted(keys, runs.start[part]), np.searchsorted(keys, runs.stop[part])
    visible = np.zeros((len(offsets) - 1, len(keys)), bool)
    visible.reshape(-1)[spread(row * len(keys) + begin, end - begin)] = True
    return visible


def _spacing(runs: Runs) -> int:
    """The largest number that divides all distances between what a row sees and where it stands; 1 if runs are long."""
    if not len(runs.start) or (runs.length != 1).any():
        return 1
    ahead = runs.start - runs.row
    return max(int(np.gcd.reduce(ahead - ahead[0])), 1)


def _of_class(runs: Runs, residue: int, spacing: int, costs: Costs) -> list[tuple[_Region, tuple[int, int, int]]]:
    """Every ``spacing``-th row, which sees every ``spacing``-th key only: neighbours among themselves."""
    row = runs.row
    chosen = row % spacing == residue
    if not chosen.any():
        return []
    first_key = int(runs.start[chosen][0]) % spacing
    keys = runs.start[chosen] // spacing
    rows = len(range(residue, runs.rows, spacing))
    alone = merged(rows, row[chosen] // spacing, keys, keys + 1, 1)
    return [(region, (residue, first_key, spacing)) for region in _cheapest(alone, costs)]
