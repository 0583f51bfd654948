"""``Pairs``: which positions see each other, for the kinds that sort positions into groups."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Pairs:
    """Which positions see each other in one batch row, whatever the head: all queries stand among the keys.

    Args:
        must: what must be visible, (q_len, kv_len).
        hidden: what must be hidden.
        q_start: the position of the first query.
    """

    def __init__(self, must: Bools, hidden: Bools, q_start: int) -> None:
        self.must, self.hidden, self.q_start, self.size = must, hidden, q_start, must.shape[1]
        self.places = np.arange(self.size)
        self.rows = q_start + np.arange(len(must))

    @cached_property
    def by_key(self) -> Bools:
        """What must be visible, a row for each key: lines are searched quickly only where they lie in one piece."""
        return np.ascontiguousarray(self.must.T)

    @cached_property
    def used(self) -> Bools:
        """Positions that see something, or are seen."""
        used: Bools = np.asarray(self.must.any(0))
        used[self.rows] |= self.must.any(1)
        return used

    @cached_property
    def runs(self) -> Ints:
        """The number of the run of each position; runs end where no visible pair crosses."""
        first = np.minimum(self.places, _first(self.by_key, self.size) + self.q_start)
        last = np.maximum(self.places, _last(self.by_key, -self.size) + self.q_start)
        first[self.rows] = np.minimum(first[self.rows], _first(self.must, self.size))
        last[self.rows] = np.maximum(last[self.rows], _last(self.must, -1))
        reach = np.maximum.accumulate(last)  # the farthest position seen with one up to here
        back = np.minimum.accumulate(first[::-1])[::-1]
        crossed = (reach[:-1] > self.places[:-1]) | (back[1:] <= self.places[:-1])
        return np.concatenate([[0], np.cumsum(~crossed)])

    @property
    def runs_of_used(self) -> Ints:
        """The same, a position that sees nothing and is not seen belonging to the run before it."""
        begins = np.diff(self.runs, prepend=self.runs[0]) > 0
        return np.cumsum(begins & self.used)

    @cached_property
    def nearest_hidden(self) -> Ints:
        """For each position the nearest one at or after it with which it may not be grouped."""
        found = np.full(self.size, self.size)
        found[self.rows] = _first(self.hidden & (self.places >= self.rows[:, None]), self.size)
        keys_before = np.ascontiguousarray(self.hidden.T) & (self.places[:, None] <= self.rows)
        return np.asarray(np.minimum(found, _first(keys_before, self.size) + self.q_start))

    @cached_property
    def greedy(self) -> Ints:
        """Runs from the left, each as long as it may be."""
        ids, run, end = np.zeros(self.size, np.int64), 0, self.size
        for place, limit in enumerate(self.nearest_hidden.tolist()):
            if place >= end:
                run, end = run + 1, self.size
            ids[place], end = run, min(end, max(limit, place + 1))
        return ids

    @cached_property
    def components(self) -> Ints:
        """The number of the group of each position that is linked through others, by one look at each row and column."""
        groups, count = np.full(self.size, -1), 0
        for start in np.flatnonzero(self.used):
            if groups[start] >= 0:
                continue
            waiting = np.array([start])
            while len(waiting):
                groups[waiting] = count
                waiting = np.flatnonzero(self._met(waiting) & (groups < 0))
            count += 1
        alone = groups < 0
        groups[alone] = count + np.arange(np.count_nonzero(alone))
        order: Ints = np.unique(groups, return_index=True)[1].argsort().argsort()
        return np.asarray(order[groups])  # numbered as they come

    def _met(self, positions: Ints) -> Bools:
        """Which positions see one of these, or are seen by one."""
        queries = positions[(positions >= self.q_start) & (positions < self.q_start + len(self.must))]
        met: Bools = np.asarray(self.must[queries - self.q_start].any(0))
        met[self.rows] |= self.by_key[positions].any(0)
        return met


def _first(array: Bools, nothing: int) -> Ints:
    """The first place of True in each row."""
    return np.where(array.any(1), array.argmax(1), nothing)


def _last(array: Bools, nothing: int) -> Ints:
    """The last place of True in each row."""
    return np.where(array.any(1), array.shape[1] - 1 - np.ascontiguousarray(array[:, ::-1]).argmax(1), nothing)
