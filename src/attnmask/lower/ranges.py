"""Smallest and largest entry of a table over many ranges of positions at once.

Booleans and edges are counted, so that their bounds are exact. Integers are looked up in a pyramid of minima and
maxima over aligned runs of 1, 2, 4, ... entries: exact for aligned ranges, a little wider for others.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.bounds.bounds import Pair
from attnmask.define.tables import SparseTable, Table
from attnmask.lower.arrays import numpy_of
from attnmask.lower.runs import spread

Ints = NDArray[np.int64]


def table_ranges(table: Table, at: tuple[Pair, ...]) -> Pair:
    """The bounds of a look-up whose positions stay within (first, last) along each axis: numbers or arrays."""
    if not at:
        return table.bounds
    at = tuple(_inside(size, pair) for size, pair in zip(table.shape, at, strict=True))
    if isinstance(table, SparseTable):
        rows, columns = ((np.asarray(first), np.asarray(last)) for first, last in at)
        return _edge_bounds(table, rows, columns)
    if table.kind == "bool":
        return _boolean_bounds(table, at)
    *outer, (first, last) = at
    if all(np.array_equal(*pair) for pair in outer):
        return _pyramid(table).bounds(tuple(pair[0] for pair in outer), np.asarray(first), np.asarray(last))
    return table.bounds


def _inside(size: int, pair: Pair) -> Pair:
    """The part of a range that a table has: bounds of a position may be wider than where it really goes."""
    return np.maximum(np.minimum(pair[0], size - 1), 0), np.maximum(np.minimum(pair[1], size - 1), 0)


def _boolean_bounds(table: Table, at: tuple[Pair, ...]) -> Pair:
    sums = _prefix_sums(table)
    count = np.int64(0)
    for corner in itertools.product((0, 1), repeat=len(at)):
        sign = (-1) ** (len(at) - sum(corner))
        count = (
            count + sign * sums[tuple(pair[1] + 1 if end else pair[0] for end, pair in zip(corner, at, strict=True))]
        )
    volume = functools.reduce(lambda size, pair: size * (pair[1] - pair[0] + 1), at, 1)
    return (count == volume) * 1, (count > 0) * 1


@functools.lru_cache(maxsize=16)
def _prefix_sums(table: Table) -> NDArray[Any]:
    """How many entries are True before each position along all axes; one larger than the table on each axis."""
    dtype = np.int32 if table.size < 2**31 else np.int64
    sums = np.zeros([size + 1 for size in table.shape], dtype)
    inside = sums[(slice(1, None),) * len(table.shape)]
    inside[...] = numpy_of(table)
    for axis in range(len(table.shape)):
        np.cumsum(inside, axis=axis, out=inside)
    return sums


def _edge_bounds(table: SparseTable, rows: Pair, columns: Pair) -> Pair:
    """Count the entries in rectangles: those of one grid by blocks, single others row by row."""
    row_first, row_last, first, last = np.broadcast_arrays(*rows, *columns)
    rows, columns = (row_first, row_last), (first, last)
    lattices = _lattice(*rows), _lattice(*columns)
    count = np.zeros(rows[0].shape, np.int64)
    rest = np.ones(rows[0].shape, bool)
    if lattices[0] is not None and lattices[1] is not None:
        blocks = _blocks(table, *lattices)
        count, rest = blocks.held(rows[0], columns[0]), ~(_whole(rows) & _whole(columns))
    count[rest] = _count_by_rows(table, *(end[rest] for end in (*rows, *columns)))
    volume = (rows[1] - rows[0] + 1) * (columns[1] - columns[0] + 1)
    return (count == volume) * 1, (count > 0) * 1


class _Lattice(NamedTuple):
    """Positions offset + i * step, up to a last one."""

    step: int
    offset: int
    last: int


def _lattice(first: Ints, last: Ints) -> _Lattice | None:
    """The grid that ranges lie on; None if there is none."""
    if not first.size:
        return None
    step = int((last - first).max()) + 1
    offset = int(first.flat[0] % step)
    return _Lattice(step, offset, int(last.max())) if ((first - offset) % step == 0).all() else None


def _whole(ends: Pair) -> NDArray[np.bool_]:
    """Which ranges are whole steps of their grid, or end where everything ends."""
    first, last = ends
    return np.asarray((last - first == (last - first).max()) | (last == last.max()))


class _Blocks(NamedTuple):
    """The blocks of a grid that hold entries."""

    row: _Lattice
    column: _Lattice
    width: int
    code: Ints
    entries: Ints

    def held(self, row: Ints, column: Ints) -> Ints:
        """Entries in the blocks that begin at positions."""
        wanted = _block_code(self.row, self.column, self.width, row, column)
        if not len(self.code):
            return np.zeros_like(wanted)
        place = np.minimum(np.searchsorted(self.code, wanted), len(self.code) - 1)
        return np.where(self.code[place] == wanted, self.entries[place], 0)


def _block_code(rows: _Lattice, columns: _Lattice, width: int, row: Ints, column: Ints) -> Ints:
    code: Ints = (row - rows.offset) // rows.step * width + (column - columns.offset) // columns.step
    return code


@functools.lru_cache(maxsize=64)
def _blocks(table: SparseTable, rows: _Lattice, columns: _Lattice) -> _Blocks:
    row, column = np.divmod(numpy_of(table), table.shape[1])
    inside = (row <= rows.last) & (column <= columns.last)
    width = table.shape[1] // columns.step + 2
    code = _block_code(rows, columns, width, row[inside], column[inside])
    return _Blocks(rows, columns, width, *np.unique(code, return_counts=True))


def _count_by_rows(table: SparseTable, row_first: Ints, row_last: Ints, first: Ints, last: Ints) -> Ints:
    """Entries in each rectangle, searched for in every one of its rows."""
    heights = row_last - row_first + 1
    codes, begins = numpy_of(table), spread(row_first, heights) * table.shape[1]
    stop = np.searchsorted(codes, begins + np.repeat(last, heights), side="right")
    found = stop - np.searchsorted(codes, begins + np.repeat(first, heights))
    owner = np.repeat(np.arange(len(heights)), heights)
    return np.bincount(owner, weights=found, minlength=len(heights)).astype(np.int64)


class Pyramid(NamedTuple):
    """Minima and maxima of runs of 2**level entries along the last axis, all levels one after the other."""

    smallest: Ints
    largest: Ints
    starts: Ints  # where each level begins

    def bounds(self, outer: tuple[Any, ...], first: Ints, last: Ints) -> Pair:
        """Over the runs that cover first .. last: at most five of them, of half the length or less."""
        level = np.maximum(_log2(last - first + 1) - 1, 0)
        begin = self.starts[level]
        run, end = begin + (first >> level), begin + (last >> level)
        low, high = self.smallest[(*outer, run)], self.largest[(*outer, run)]
        for _ in range(int((end - run).max(initial=0))):
            run = np.minimum(run + 1, end)
            low = np.minimum(low, self.smallest[(*outer, run)])
            high = np.maximum(high, self.largest[(*outer, run)])
        return low, high


@functools.lru_cache(maxsize=16)
def _pyramid(table: Table) -> Pyramid:
    levels = [(numpy_of(table), numpy_of(table))]
    while levels[-1][0].shape[-1] > 1:
        low, high = (_even(array) for array in levels[-1])
        levels.append((np.minimum(low[..., ::2], low[..., 1::2]), np.maximum(high[..., ::2], high[..., 1::2])))
    sizes = [low.shape[-1] for low, _ in levels]
    smallest, largest = (np.concatenate(arrays, axis=-1) for arrays in zip(*levels, strict=True))
    return Pyramid(smallest, largest, np.concatenate([[0], np.cumsum(sizes)]))


def _even(array: Ints) -> Ints:
    """An even number of entries along the last axis: the last one twice, if need be."""
    return np.concatenate([array, array[..., -1:]], axis=-1) if array.shape[-1] % 2 else array


def _log2(lengths: Ints) -> Ints:
    """The whole part of the binary logarithm."""
    return (np.frexp(lengths.astype(np.float64))[1] - 1).astype(np.int64)
