"""Which tiles of a frame are EMPTY, FULL or PARTIAL, found by looking only inside regions that are neither.

The frame is one square region, halved again and again. Bounds decide most regions without a look inside; those that
are undecided are split, down to single tiles. A tile that bounds leave undecided is decided by witnesses, then by its
corners, then by its parts, and only at the very end position by position. So the cost follows the length of the
boundary between visible and hidden, not q_len x kv_len.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.bounds.bounds import Intervals
from attnmask.define.bounds.witness import Truth, Witnesses
from attnmask.define.fit import Fitted
from attnmask.define.language import Node, fold
from attnmask.errors import LoweringError
from attnmask.lower.arrays import evaluate
from attnmask.lower.ranges import table_ranges

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EMPTY, PARTIAL, FULL = 0, 1, 2

SMALLEST_PART = 16  # undecided parts of a tile up to this size are evaluated position by position
REGION_BYTES = 400  # while it is looked at
MOST_REGIONS = 1 << 24
POSITIONS = 1 << 20  # at most so many at once


class Boxes(NamedTuple):
    """Rectangles of positions: batch, head, and first and last query and key, all arrays of one length."""

    b: Ints
    h: Ints
    q_first: Ints
    q_last: Ints
    k_first: Ints
    k_last: Ints

    def take(self, which: Any) -> Boxes:
        """Some of the boxes."""
        return Boxes(*(array[which] for array in self))

    @property
    def ranges(self) -> dict[str, tuple[Ints, Ints]]:
        """First and last position of each index variable."""
        return {
            "b": (self.b, self.b),
            "h": (self.h, self.h),
            "q": (self.q_first, self.q_last),
            "k": (self.k_first, self.k_last),
        }

    @property
    def positions(self) -> Ints:
        """How many positions each box holds."""
        return (self.q_last - self.q_first + 1) * (self.k_last - self.k_first + 1)


class Squares(NamedTuple):
    """Regions of size x size tiles, by batch, head, and their place in the grid of such regions."""

    size: int
    b: Ints
    h: Ints
    row: Ints
    column: Ints

    def take(self, which: Bools) -> Squares:
        """Some of the regions."""
        return Squares(self.size, *(array[which] for array in self[1:]))

    def halved(self) -> Squares:
        """The four quarters of each region."""
        rows = (2 * self.row[:, None] + np.array([0, 0, 1, 1])).ravel()
        columns = (2 * self.column[:, None] + np.array([0, 1, 0, 1])).ravel()
        return Squares(self.size // 2, np.repeat(self.b, 4), np.repeat(self.h, 4), rows, columns)


class Grid(NamedTuple):
    """The tiles of a frame."""

    frame: Fitted
    q_tile: int
    kv_tile: int

    @property
    def rows(self) -> int:
        """Tiles along the queries; the last one may reach beyond the frame."""
        return -(-self.frame.q_len // self.q_tile)

    @property
    def columns(self) -> int:
        """Tiles along the keys; the last one may reach beyond the frame."""
        return -(-self.frame.kv_len // self.kv_tile)

    def root(self) -> Squares:
        """For each batch and head one region that holds everything."""
        size = 1 << (max(self.rows, self.columns) - 1).bit_length()
        b, h = (axis.ravel() for axis in np.indices((self.frame.batch, self.frame.heads)))
        return Squares(size, b, h, np.zeros_like(b), np.zeros_like(b))

    def inside(self, regions: Squares) -> Bools:
        """Which regions hold a tile of the frame."""
        return (regions.row * regions.size < self.rows) & (regions.column * regions.size < self.columns)

    def boxes(self, regions: Squares) -> Boxes:
        """The positions of regions, cut to the frame."""
        q_step, k_step = regions.size * self.q_tile, regions.size * self.kv_tile
        q_first, k_first = regions.row * q_step, regions.column * k_step
        q_last = np.minimum(q_first + q_step, self.frame.q_len) - 1 + self.frame.q_start
        k_last = np.minimum(k_first + k_step, self.frame.kv_len) - 1
        return Boxes(regions.b, regions.h, q_first + self.frame.q_start, q_last, k_first, k_last)


def classify(node: Node, grid: Grid) -> tuple[list[Squares], Squares]:
    """FULL regions of any size, and the PARTIAL tiles; all other tiles are EMPTY.

    A tile at the edge is judged by its positions inside the frame.
    """
    full: list[Squares] = []
    regions = grid.root()
    while True:
        all_, any_ = _bounds(node, grid.boxes(regions))
        full.append(regions.take(all_))
        regions = regions.take(any_ & ~all_)
        if regions.size == 1:
            break
        _check_memory(4 * len(regions.b), grid)
        regions = regions.halved()
        regions = regions.take(grid.inside(regions))
    kinds = kinds_of(node, grid.boxes(regions))
    full.append(regions.take(kinds == FULL))
    return [squares for squares in full if len(squares.b)], regions.take(kinds == PARTIAL)


def _check_memory(regions: int, grid: Grid) -> None:
    if regions > MOST_REGIONS:
        raise LoweringError(
            "regions that are neither wholly visible nor wholly hidden are held in memory",
            f"{regions} of them, about {regions * REGION_BYTES / 1e9:,.0f} GB, for {grid.frame.q_len} queries x "
            f"{grid.frame.kv_len} keys in tiles of {grid.q_tile} x {grid.kv_tile}",
            "Use larger tiles, or a part of the queries: Frame(q_len, kv_len, q_start=...)",
        )


def _bounds(node: Node, boxes: Boxes) -> tuple[Bools, Bools]:
    """Whether all, and whether possibly any, positions of each box are visible."""
    low, high = fold(node, Intervals(boxes.ranges, table_ranges, np))
    shape = boxes.b.shape
    return np.broadcast_to(np.asarray(low, bool), shape), np.broadcast_to(np.asarray(high, bool), shape)


def kinds_of(node: Node, boxes: Boxes) -> NDArray[np.int8]:
    """EMPTY, PARTIAL or FULL for each box, exactly.

    Parts of a box are looked at until one visible and one hidden position of it are known.
    """
    some_true, some_false = np.zeros((2, len(boxes.b)), bool)
    owner = np.arange(len(boxes.b))
    while len(owner):
        undecided = _look(node, boxes, owner, some_true, some_false)
        open_ = undecided & ~(some_true & some_false)[owner]
        boxes, owner = boxes.take(open_), owner[open_]
        small = boxes.positions <= SMALLEST_PART**2
        _evaluate_all(node, boxes.take(small), owner[small], some_true, some_false)
        large = ~small & ~(some_true & some_false)[owner]
        boxes, owner = _quartered(boxes.take(large), owner[large])
    return np.where(some_true, np.where(some_false, PARTIAL, FULL), EMPTY).astype(np.int8)


def _look(node: Node, boxes: Boxes, owner: Ints, some_true: Bools, some_false: Bools) -> Bools:
    """Note for the owners what witnesses and corners show; gives the boxes that are still undecided."""
    truth = fold(node, Witnesses(boxes.ranges, table_ranges, np))
    assert isinstance(truth, Truth)
    all_, any_, true, false = (np.broadcast_to(np.asarray(part, bool), owner.shape) for part in truth)
    some_true[owner[true]] = True
    some_false[owner[false]] = True
    undecided = any_ & ~all_ & ~(true & false)
    rest = np.flatnonzero(undecided & ~(some_true & some_false)[owner])
    part = boxes.take(rest)
    for q, k in (
        (part.q_first, part.k_first),
        (part.q_first, part.k_last),
        (part.q_last, part.k_first),
        (part.q_last, part.k_last),
    ):
        seen = np.broadcast_to(np.asarray(evaluate(node, part.b, part.h, q, k), bool), rest.shape)
        some_true[owner[rest[seen]]] = True
        some_false[owner[rest[~seen]]] = True
    return np.asarray(undecided)


def _evaluate_all(node: Node, boxes: Boxes, owner: Ints, some_true: Bools, some_false: Bools) -> None:
    for chosen, visible, inside in evaluated(node, boxes):
        some_true[owner[chosen[(visible & inside).any((1, 2))]]] = True
        some_false[owner[chosen[(~visible & inside).any((1, 2))]]] = True


def evaluated(node: Node, boxes: Boxes) -> Any:
    """Every position of boxes, some boxes at a time: (which boxes, visible, inside), the latter two (boxes, q, k).

    All boxes are shown at the size of the largest; ``inside`` marks the positions that belong to a box.
    """
    if not len(boxes.b):
        return
    q_size, k_size = (
        int((last - first).max()) + 1 for first, last in ((boxes.q_first, boxes.q_last), (boxes.k_first, boxes.k_last))
    )
    step = max(1, POSITIONS // (q_size * k_size))
    for start in range(0, len(boxes.b), step):
        chosen = np.arange(start, min(start + step, len(boxes.b)))
        part = Boxes(*(array[chosen, None, None] for array in boxes))
        q, k = part.q_first + np.arange(q_size)[None, :, None], part.k_first + np.arange(k_size)[None, None, :]
        inside = (q <= part.q_last) & (k <= part.k_last)
        value = evaluate(node, part.b, part.h, np.minimum(q, part.q_last), np.minimum(k, part.k_last))
        yield chosen, np.broadcast_to(np.asarray(value, bool), inside.shape), inside


def _quartered(boxes: Boxes, owner: Ints) -> tuple[Boxes, Ints]:
    """Four parts of each box, or two where it is one position wide."""
    q_middle, k_middle = (boxes.q_first + boxes.q_last) // 2, (boxes.k_first + boxes.k_last) // 2
    parts = [
        boxes._replace(q_first=q_first, q_last=q_last, k_first=k_first, k_last=k_last)
        for q_first, q_last in ((boxes.q_first, q_middle), (q_middle + 1, boxes.q_last))
        for k_first, k_last in ((boxes.k_first, k_middle), (k_middle + 1, boxes.k_last))
    ]
    joined = Boxes(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    exist = (joined.q_first <= joined.q_last) & (joined.k_first <= joined.k_last)
    return joined.take(exist), np.tile(owner, 4)[exist]
