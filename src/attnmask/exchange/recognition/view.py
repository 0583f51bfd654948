"""``View``: an array as the members of a kind look at it, line by line.

A description may leave cells open (what another part hides or shows anyway), so a view has two arrays: the cells that
must be visible, and those that may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from attnmask.exchange.recognition.pairs import Bools, Ints, Pairs

SHARE = 4  # of a line, at most one cell in so many may be wrong


class Lines(NamedTuple):
    """How many cells of each line must be visible, and how many must not; wrong ones are let pass up to ``slack``."""

    must: Ints
    hidden: Ints
    size: Ints
    slack: int

    @property
    def some(self) -> Bools:
        """Lines on which something is to be seen."""
        return np.asarray(self.must > np.minimum(self.slack, self.size // SHARE))

    @property
    def full(self) -> Bools:
        """Lines on which everything may be seen."""
        return np.asarray(self.hidden <= np.minimum(self.slack, self.size // SHARE))

    @property
    def swapped(self) -> Lines:
        """The same lines of the opposite view."""
        return Lines(self.hidden, self.must, self.size, self.slack)

    def over(self, *axes: int) -> Lines:
        """The lines of several batch rows or heads taken together."""
        must, hidden = self.must.sum(axes), self.hidden.sum(axes)
        times = self.must.size // must.size
        return Lines(must, hidden, self.size * times, self.slack)


@dataclass(frozen=True, eq=False)
class View:
    """Two arrays (batch, heads, q_len, kv_len), and the position of their first query.

    Attributes:
        must: cells that are to be visible.
        may: cells that may be visible, those that must be among them.
        q_start: the position of the first query.
        slack: how many cells of a line may be wrong, where the nearest mask is wanted.
        turned: whether this is the opposite view, so that its masks will be said with ``~``.
    """

    must: Bools
    may: Bools
    q_start: int
    slack: int = 0
    turned: bool = False

    @cached_property
    def hidden(self) -> Bools:
        """Cells that must be hidden."""
        return ~self.may

    @cached_property
    def opposite(self) -> View:
        """What is hidden, as if it were to be seen."""
        view = View(self.hidden, ~self.must, self.q_start, self.slack, not self.turned)
        view.__dict__["hidden"] = self.must
        for lines in ("diagonals", "columns", "rows"):
            view.__dict__[lines] = getattr(self, lines).swapped
        return view

    def with_cells(self, must: Bools, may: Bools) -> View:
        """The same view of other cells."""
        return View(must, may, self.q_start, self.slack, self.turned)

    @property
    def ends(self) -> tuple[int, int]:
        """One past the last position of a query, and of a key."""
        q_len, kv_len = self.must.shape[2:]
        return self.q_start + q_len, kv_len

    @property
    def distances(self) -> Ints:
        """q - k along each diagonal."""
        q_len, kv_len = self.must.shape[2:]
        return np.asarray(np.arange(q_len + kv_len - 1) - (kv_len - 1) + self.q_start)

    @cached_property
    def diagonals(self) -> Lines:
        """Cells of one distance q - k: (batch, heads, q_len + kv_len - 1)."""
        return self._lines(_along_diagonals)

    @cached_property
    def columns(self) -> Lines:
        """Cells of one key: (batch, heads, kv_len)."""
        return self._lines(lambda array: _summed(array, 2))

    @cached_property
    def rows(self) -> Lines:
        """Cells of one query: (batch, heads, q_len)."""
        return self._lines(lambda array: _summed(array, 3))

    @cached_property
    def pairs(self) -> list[Pairs]:
        """Which positions see each other, for each batch row; nothing where queries stand outside the keys."""
        if self.q_start < 0 or self.ends[0] > self.ends[1]:
            return []
        must, hidden = (
            cells[:, 0] if cells.shape[1] == 1 else np.any(cells, axis=1) for cells in (self.must, self.hidden)
        )
        return [Pairs(*row, self.q_start) for row in zip(must, hidden, strict=True)]

    def _lines(self, count: Callable[[Bools], Ints]) -> Lines:
        size = count(np.ones((1, 1, *self.must.shape[2:]), bool))[0, 0]
        must = count(self.must)
        return Lines(must, size - must if self.may is self.must else count(self.hidden), size, self.slack)


def _summed(array: Bools, axis: int) -> Ints:
    return np.asarray(array.view(np.uint8).sum(axis, dtype=np.int32), np.int64)


def _along_diagonals(array: Bools) -> Ints:
    """Rows written one cell further right each, so that diagonals become columns."""
    batch, heads, q_len, kv_len = array.shape
    found = np.empty((batch, heads, q_len + kv_len - 1), np.int64)
    skewed = np.zeros((q_len, q_len + kv_len), np.uint8)
    for row, head in np.ndindex(batch, heads):
        skewed[:, :kv_len] = array[row, head, :, ::-1]
        found[row, head] = skewed.reshape(-1)[: q_len * (q_len + kv_len - 1)].reshape(q_len, -1).sum(0, dtype=np.int32)
    return found
