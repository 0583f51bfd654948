"""``exact``: the shortest description of an array in one alignment, or a table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import or_

import numpy as np

from attnmask.define.language import Apply, Named, Node
from attnmask.define.mask import Mask, b, h, lookup
from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.define.masks.graph import graph
from attnmask.define.masks.nothing import nothing
from attnmask.define.masks.table import table
from attnmask.define.tables import Table
from attnmask.exchange.recognition.length import TABLE, length
from attnmask.exchange.recognition.nearest import MOST, Nearest, nearly
from attnmask.exchange.recognition.pairs import Bools, Ints
from attnmask.exchange.recognition.sample import Sample
from attnmask.exchange.recognition.search import Search
from attnmask.exchange.recognition.view import View

MOST_PATTERNS = 8  # that heads, or batch rows, are told apart by
MOST_EDGES = 4096
FEWEST = 2  # cells that are named one by one in an array of any size; else one in a hundred
LISTED = (1, 0.75, 0.5)  # of the length of the table, for a list alone, with one part more, with several
RIVALLED = 32  # bits: of a longer description it is asked whether single cells make it long
TRIES = 3  # samples of a large array


def exact(visible: Bools, q_start: int) -> Mask:
    """The shortest description of an array (batch, heads, q_len, kv_len) whose first query stands at ``q_start``.

    >>> exact(np.tril(np.ones((1, 1, 4, 4), bool)), 0)
    causal()

    A description is longer than a table where there is nothing to describe; then it is a table.
    """
    if visible.all():
        return everything()
    if not visible.any():
        return nothing()
    found: list[Mask] = []
    for way in (_described, _by_cells, _by_pattern):
        if not found or length(found[0]) > RIVALLED:
            found += way(visible, q_start)
    return min(found, key=length) if found else as_table(visible, q_start)


def is_table(mask: Mask) -> bool:
    """Whether this is what ``exact`` gives for an array without a description."""
    return getattr(mask.node, "name", "") in ("table", "shift")


def as_table(visible: Bools, q_start: int) -> Mask:
    """The array itself as a mask."""
    return table(visible if visible.shape[:2] != (1, 1) else visible[0, 0]).shift(q=-q_start)


def _described(visible: Bools, q_start: int) -> Iterator[Mask]:
    """What the search finds; on a large array it may fit the sample only, and is tried again with the rows that differ."""
    view, also = View(visible, visible, q_start), list[int]()
    for _ in range(TRIES):
        sample = Sample(visible, q_start, also)
        found = [part for part in Search(view, sample).descriptions() if part.length < _worth(part.mask, visible)]
        for part in found[:MOST_PATTERNS]:
            rows = np.flatnonzero((sample.dense(part.mask) != visible).any((0, 1, 3)))
            if not len(rows):
                yield part.mask
                return
            also += rows[:MOST_PATTERNS].tolist()
        if not found:
            return


def _worth(mask: Mask, visible: Bools) -> float:
    """The length above which a description explains nothing; lists fit any array, the better the more are combined."""
    parts = _parts(mask.node)
    beside = [part for part in parts if Mask(part) != causal()]
    parts = beside if len(beside) == 1 else parts  # causal() goes with most masks, and explains nothing away
    lists = sum(isinstance(value, Table) for part in parts if isinstance(part, Named) for _, value in part.args)
    combined = len(parts) + lists - 1 if lists else 1
    return (visible.size + TABLE) * LISTED[min(combined, len(LISTED)) - 1]


def _parts(node: Node) -> list[Node]:
    if isinstance(node, Apply) and node.op in ("&", "|", "~"):
        return [part for inner in node.args for part in _parts(inner)]
    return [node]


def _by_cells(visible: Bools, q_start: int) -> Iterator[Mask]:
    """A known mask, and one by one the few cells that differ; or all edges of a graph that has few."""
    if visible.shape[:2] != (1, 1) or q_start < 0:
        return
    nodes = max(q_start + visible.shape[2], visible.shape[3])
    masks = []
    few = max(FEWEST, min(MOST, visible.size // 100))
    known = nearly(visible, q_start, few)
    if known is not None:
        masks.append(_with_cells(known, nodes))
    if np.count_nonzero(visible) <= min(MOST_EDGES, visible.size // 8):
        masks.append(graph(_edges(np.argwhere(visible) + np.array([0, 0, q_start, 0])), nodes))
    yield from (mask for mask in masks if length(mask) < visible.size // 2)


def _with_cells(known: Nearest, nodes: int) -> Mask:
    mask = known.mask
    if len(known.missing):
        without = ~graph(_edges(known.missing), nodes)
        mask = without if mask == everything() else mask & without
    if len(known.extra):
        beside = graph(_edges(known.extra), nodes)
        mask = beside if mask == nothing() else mask | beside
    return mask


def _edges(cells: Ints) -> list[list[int]]:
    edges: list[list[int]] = cells[:, 2:].tolist()
    return edges


def _by_pattern(visible: Bools, q_start: int) -> Iterator[Mask]:
    """Heads, or batch rows, that are of different known kinds."""
    for axis, index in ((1, h), (0, b)):
        count = visible.shape[axis]
        patterns = [visible.take([place], axis) for place in range(count)]
        alike: dict[bytes, list[int]] = {}
        for place, pattern in enumerate(patterns):
            alike.setdefault(np.packbits(pattern).tobytes(), []).append(place)
        if not 1 < len(alike) <= MOST_PATTERNS:
            continue
        parts = [(np.isin(np.arange(count), places), exact(patterns[places[0]], q_start)) for places in alike.values()]
        if not any(is_table(mask) for _, mask in parts):
            mask = reduce(or_, (lookup(places, index) & mask for places, mask in parts if mask != nothing()))
            if length(mask) < visible.size:
                yield mask
