"""``Pattern``: the visible cells of a mask, row by row, at the two places where its first query may stand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Booleans of any leading axes, True = visible.

    >>> pattern = Pattern(np.tri(2, 5, 3, dtype=bool))
    >>> pattern.starts, pattern.first.tolist(), pattern.last.tolist()
    ([3, 0], [[0, 0]], [[3, 4]])
    """

    visible: Bools

    @cached_property
    def slices(self) -> Bools:
        """The different (q_len, kv_len) arrays over all leading axes: (slices, q_len, kv_len)."""
        flat = self.visible.reshape(-1, *self.visible.shape[-2:])
        if len(flat) == 1 or (flat == flat[:1]).all():
            return flat[:1]
        different = {np.packbits(array).tobytes(): place for place, array in reversed(list(enumerate(flat)))}
        return flat[sorted(different.values())]

    @property
    def q_len(self) -> int:
        """Rows."""
        return int(self.visible.shape[-2])

    @property
    def kv_len(self) -> int:
        """Columns."""
        return int(self.visible.shape[-1])

    @property
    def is_square(self) -> bool:
        """Whether queries and keys are as many, so that row and column i are one position."""
        return self.q_len == self.kv_len

    @property
    def starts(self) -> list[int]:
        """Where the first query may stand: so that the last query is at the last key, or at the first key."""
        return list(dict.fromkeys([self.kv_len - self.q_len, 0]))

    @cached_property
    def counts(self) -> Ints:
        """How many keys each row sees: (slices, q_len)."""
        return np.asarray(self.slices.sum(-1))

    @cached_property
    def first(self) -> Ints:
        """The first key that each row sees; 0 where there is none."""
        return np.asarray(self.slices.argmax(-1))

    @cached_property
    def last(self) -> Ints:
        """The last key that each row sees."""
        return np.asarray(self.kv_len - 1 - self.slices[..., ::-1].argmax(-1))

    @cached_property
    def used(self) -> Bools:
        """The keys that some query sees: (slices, kv_len)."""
        return np.asarray(self.slices.any(-2))

    @cached_property
    def ends(self) -> tuple[Ints, Ints]:
        """The first and the last key in use, of each slice: (slices, 1) each."""
        return self.used.argmax(-1)[:, None], self.kv_len - 1 - self.used[:, ::-1].argmax(-1)[:, None]

    @property
    def rows(self) -> Ints:
        """0 .. q_len - 1."""
        return np.arange(self.q_len)

    def own(self, start: int) -> tuple[Bools, Ints]:
        """Whether each query sees its own position, (slices, queries), and the keys at those positions."""
        row = max(0, -start)
        own = np.diagonal(self.slices[:, row:], start + row, -2, -1)
        return own, np.arange(own.shape[-1]) + start + row

    def sees(self, low: Any, high: Any) -> bool:
        """Whether each row sees exactly the keys ``low .. high`` among those that are in use."""
        begin, end = self.ends
        low, high = np.maximum(low, begin), np.minimum(high, end)
        expected = np.maximum(high - low + 1, 0)
        placed = (expected == 0) | ((self.first == low) & (self.last == high))
        return bool((self.counts == expected).all() and placed.all())
