"""Sparse rows of runs: for each row, disjoint runs of columns in order, with no array of rows x columns."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import LoweringError

Ints = NDArray[np.int64]


ROW_BYTES = 32  # of a row with one run: where it begins in the list, start, stop, and room to sort
MOST_ROWS = 1 << 28


class Runs(NamedTuple):
    """Runs ``start .. stop`` (stop not included) of row r: entries ``offsets[r] .. offsets[r + 1]``.

    ``kind`` says what each run is; runs of one kind that touch are one.
    """

    offsets: Ints
    start: Ints
    stop: Ints
    kind: NDArray[np.int8]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1

    @property
    def row(self) -> Ints:
        """The row of each run."""
        return np.repeat(np.arange(self.rows), np.diff(self.offsets))

    @property
    def length(self) -> Ints:
        """Columns in each run."""
        return self.stop - self.start

    def of(self, row: int) -> list[tuple[int, int, int]]:
        """(start, stop, kind) of the runs of one row."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        return list(zip(self.start[part].tolist(), self.stop[part].tolist(), self.kind[part].tolist(), strict=True))

    def dense(self, columns: int) -> NDArray[np.int8]:
        """The kind at every (row, column), 0 outside of all runs."""
        steps = np.zeros((self.rows, columns + 1), np.int8)
        np.add.at(steps, (self.row, self.start), self.kind)
        np.subtract.at(steps, (self.row, self.stop), self.kind)
        return np.cumsum(steps, axis=1, dtype=np.int8)[:, :columns]


def check_rows(rows: int) -> None:
    """Refuse more rows than memory holds."""
    if rows > MOST_ROWS:
        raise LoweringError(
            "rows of tiles, or of queries, are held in memory",
            f"{rows} rows, about {rows * ROW_BYTES / 1e9:,.0f} GB",
            "Use larger tiles, or a part of the queries: Frame(q_len, kv_len, q_start=...)",
        )


def merged(rows: int, row: Ints, start: Ints, stop: Ints, kind: Any) -> Runs:
    """Runs in any order, disjoint within each row, as ``Runs``."""
    check_rows(rows)
    kind = np.broadcast_to(np.asarray(kind, np.int8), row.shape)
    order = _order(row, start)
    row, start, stop, kind = row[order], start[order], stop[order], kind[order]
    joins = np.zeros(len(row), bool)
    joins[1:] = (row[1:] == row[:-1]) & (start[1:] == stop[:-1]) & (kind[1:] == kind[:-1])
    first = np.flatnonzero(~joins)
    last = np.append(first[1:], len(row)) - 1 if len(row) else first
    offsets = np.concatenate([[0], np.cumsum(np.bincount(row[first], minlength=rows))])
    return Runs(offsets, start[first], stop[last], kind[first])


def _order(row: Ints, start: Ints) -> Ints:
    """By row, then by start: one sort of one number where both fit into it."""
    widest = int(start.max(initial=0)) + 1
    if not len(row) or int(row.max()) < 2**62 // widest:
        return np.argsort(row * widest + start, kind="stable")
    return np.lexsort((start, row))


def spread(first: Ints, counts: Ints) -> Ints:
    """``first, first + 1, ...``, as many as counted, for each entry, one after the other.

    >>> spread(np.array([5, 9]), np.array([3, 2]))
    array([ 5,  6,  7,  9, 10])
    """
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    values: Ints = np.arange(total) + np.repeat(first - (ends - counts), counts)
    return values


def part_of(runs: Runs, first: int, count: int) -> Runs:
    """Some rows of runs.

    >>> runs = merged(3, np.array([0, 1, 2]), np.array([0, 0, 0]), np.array([1, 2, 3]), 1)
    >>> part_of(runs, 1, 2).stop
    array([2, 3])
    """
    offsets = runs.offsets[first : first + count + 1]
    part = slice(offsets[0], offsets[-1])
    return Runs(offsets - offsets[0], runs.start[part], runs.stop[part], runs.kind[part])
