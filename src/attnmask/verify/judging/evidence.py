"""What the kinds of evidence give, as data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.verify.judging.probe import Tests

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Perturbed(NamedTuple):
    """The tests, and how far each query that may not notice moved: (tests, queries)."""

    tests: Tests
    changes: Floats

    @property
    def largest(self) -> float:
        """The largest forbidden change."""
        return float(self.changes.max(initial=0.0))


class Life(NamedTuple):
    """How far each output moves when everything is replaced, and which outputs are NaN as given: (queries,)."""

    alive: Floats
    nan: Bools

    @property
    def reference(self) -> float:
        """The size of an allowed change."""
        return float(self.alive[np.isfinite(self.alive)].max(initial=0.0))


class Judged(NamedTuple):
    """Whether a small influence is rounding, and why."""

    is_rounding: bool
    note: str
