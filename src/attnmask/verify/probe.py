"""Probes: replace what a query must not see, and require that nothing at all happens to its output.

A test is a pair (positions S, rows T) such that no row of T may see a position of S. One run with S replaced tests
all of its pairs. For an allowed relation, the tests are one per distinct row pattern that hides something: n - 1 for a
causal mask (which is the least possible number), one for padding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.verify.subject import Subject

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

COPIES = 64  # variants of a sequence per run


class Tests(NamedTuple):
    """The tests of one relation: what is replaced in each, and which rows may not notice."""

    replaced: Bools  # (tests, kv_len)
    rows: Bools  # (tests, q_len)


def tests_of(allowed: Bools, real_rows: Bools) -> Tests:
    """One test per distinct pattern of visible keys among the real rows that hides something.

    >>> tests_of(np.tril(np.ones((4, 4), bool)), np.ones(4, bool)).replaced.astype(int)
    array([[0, 1, 1, 1],
           [0, 0, 1, 1],
           [0, 0, 0, 1]])
    """
    patterns = np.unique(allowed[real_rows], axis=0)
    patterns = patterns[~patterns.all(1)]
    patterns = patterns[np.argsort(patterns.sum(1), kind="stable")]
    sees_less = ~(allowed[None, :, :] & ~patterns[:, None, :]).any(2)  # rows that see no more than the pattern
    return Tests(~patterns, sees_less & real_rows[None, :])


def influence(subject: Subject, row: int, replaced: Bools, seed: int) -> Floats:
    """The largest change of each output row when positions are replaced: (tests, rows).

    Both runs have the same shape, so that equal inputs give equal bits.
    """
    parts = []
    for first in range(0, len(replaced), COPIES):
        positions = replaced[first : first + COPIES]
        before = subject.run(subject.copies(row, len(positions)))
        after = subject.run(subject.resampled(row, positions, seed))
        parts.append(_difference(before, after))
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def noise(subject: Subject, row: int, count: int) -> float:
    """How much two equal runs differ: 0.0 for a deterministic model."""
    arrays = subject.copies(row, count)
    return float(_difference(subject.run(arrays), subject.run(arrays)).max())


def _difference(before: NDArray[np.float64], after: NDArray[np.float64]) -> Floats:
    """The largest absolute difference per row; NaN on both sides is no difference, on one side an infinite one."""
    both = np.isnan(before) & np.isnan(after)
    apart = np.abs(np.where(both, 0.0, before) - np.where(both, 0.0, after))
    change: Floats = np.nan_to_num(apart, nan=np.inf).max(-1)
    return change


def each_alone(subject: Subject, row: int, seed: int) -> Floats:
    """The change of each output row when each position alone is replaced: (rows, kv_len)."""
    return influence(subject, row, np.eye(subject.length, dtype=bool), seed).T
