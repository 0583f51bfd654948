"""Probes: replace what a query must not see, and look what happens to its output.

causal, n positions          n - 1 tests, one per cut     S = k, k + 1 ...   T = 0 .. k - 1
padding                      1 test                       S = pads           T = all
D documents apart            the smallest t with C(t, t // 2) >= D (Sperner): each document has its own half of the
                             tests, in which it is replaced; of two documents each is replaced in a test that spares the other
anything else                one test per distinct row of the mask that hides something
"""

from __future__ import annotations

import math
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.verify.subjects.arrays import Array
from attnmask.verify.subjects.subject import Subject

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


TOLERANCE = 1e-4  # of the largest output: other shapes are added up in another order, in 32 bits inside some modules


class Tests(NamedTuple):
    """The tests of one relation: what is replaced in each, and which queries may not notice."""

    replaced: Bools  # (tests, keys)
    rows: Bools  # (tests, queries)


def tests_of(allowed: Bools, real_rows: Bools) -> Tests:
    """As few tests as are known to cover every forbidden pair.

    >>> tests_of(np.tril(np.ones((4, 4), bool)), np.ones(4, bool)).replaced.astype(int)
    array([[0, 1, 1, 1],
           [0, 0, 1, 1],
           [0, 0, 0, 1]])
    """
    patterns = np.unique(allowed[real_rows], axis=0)
    patterns = patterns[~patterns.all(1)]
    if len(patterns) > 3 and (patterns.sum(0) <= 1).all():
        return _apart(patterns, allowed, real_rows)
    patterns = patterns[np.argsort(patterns.sum(1), kind="stable")]
    sees_less = ~(allowed[None, :, :] & ~patterns[:, None, :]).any(2)  # queries that see no more than the pattern
    return Tests(~patterns, sees_less & real_rows[None, :])


def _apart(patterns: Bools, allowed: Bools, real_rows: Bools) -> Tests:
    """Documents that see nothing of each other: each is replaced in its own half of the tests."""
    count = next(count for count in range(2, len(patterns) + 2) if math.comb(count, count // 2) >= len(patterns))
    halves = np.zeros((len(patterns), count), bool)
    for document, chosen in enumerate(islice(combinations(range(count), count // 2), len(patterns))):
        halves[document, list(chosen)] = True
    replaced: Bools = np.any(halves.T[:, :, None] & patterns[None], axis=1)  # (tests, keys)
    nobody = ~patterns.any(0)  # keys that no query may see are replaced always
    replaced |= nobody
    spared = ~(allowed[None] & replaced[:, None]).any(2)
    return Tests(replaced, spared & real_rows[None, :])


def influence(subject: Subject, sequence: int, replaced: Bools, seed: int) -> Floats:
    """The largest change of each output row when positions are replaced: (tests, queries).

    Both runs have the same shape, so that equal inputs give equal bits.
    """
    parts = []
    before: Array | None = None
    for first in range(0, len(replaced), subject.at_once):
        positions = replaced[first : first + subject.at_once]
        if before is None or len(before) != len(positions):
            before = _unchanged(subject, sequence, len(positions))
        after = subject.run(subject.resampled(sequence, positions, seed))
        parts.append(difference(before, after))
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def moved_by(subject: Subject, sequence: int, tests: Tests, seed: int) -> Floats:
    """How far each query that may not notice moves in each test: (tests, queries), 0 for the others.

    Every run also holds the sequence itself, last. Outputs that equal its outputs bit for bit did not move; only if some
    do not, for which their place in the batch may be the reason, they are compared with a run of the same shape.
    """
    found = np.zeros(tests.rows.shape)
    before: Array | None = None
    for first in range(0, len(found), subject.at_once):
        part, rows = found[first : first + subject.at_once], tests.rows[first : first + subject.at_once]
        positions = with_itself(subject, tests.replaced[first : first + subject.at_once])
        after, (test, query) = subject.run(subject.resampled(sequence, positions, seed)), np.nonzero(rows)
        if len(positions) > len(part) and _is_itself(subject, sequence, after[-1]):
            part[rows] = difference(after[-1][query], after[test, query])
            if not part.any():
                continue
        if before is None or len(before) != len(after):
            before = _unchanged(subject, sequence, len(after))
        part[rows] = difference(before[test, query], after[test, query])
    return found


def _unchanged(subject: Subject, sequence: int, count: int) -> Array:
    """The outputs of copies of a sequence in one run."""
    return subject.alone(sequence)[None] if count == 1 else subject.run(subject.copies(sequence, count))


def with_itself(subject: Subject, replaced: Bools) -> Bools:
    """The positions to replace in each copy of a run, and last none, unless copies in one run see each other."""
    return replaced if subject.at_once == 1 else np.vstack([replaced, np.zeros((1, subject.length), bool)])


def _is_itself(subject: Subject, sequence: int, found: Floats) -> bool:
    """Whether the outputs of a sequence beside others are, but for rounding, what they are alone."""
    expected = subject.alone(sequence)
    return not len(departed(found, expected, largest(expected))[1])


def each_alone(subject: Subject, sequence: int, seed: int) -> Floats:
    """The change of each output row when each position alone is replaced: (queries, keys)."""
    return influence(subject, sequence, np.eye(subject.length, dtype=bool), seed).T


def culprit(subject: Subject, sequence: int, replaced: Bools, query: int, seed: int) -> Bools:
    """The fewest of the replaced positions, found by leaving out halves, that still move the output of a query."""

    def moves(chosen: NDArray[np.int64]) -> bool:
        positions = np.isin(np.arange(subject.length), chosen)[None]
        return bool(influence(subject, sequence, positions, seed)[0, query] > 0)

    chosen = np.flatnonzero(replaced)
    size = max(1, len(chosen) // 2)
    while len(chosen) > 1:
        for first in range(0, len(chosen), size):
            rest = np.delete(chosen, slice(first, first + size))
            if len(rest) and moves(rest):
                chosen = rest
                break
        else:
            if size == 1:
                break
            size //= 2
            continue
        size = max(1, min(size, len(chosen) // 2))
    return np.isin(np.arange(subject.length), chosen)


def mixed(subject: Subject, place: int, seed: int) -> tuple[dict[str, Array], dict[str, Array], Floats]:
    """Two copies of a sequence in one batch, of which the other one is then replaced; and how far the one at a place moves."""
    replaced = np.zeros((2, subject.length), bool)
    replaced[1 - place] = True
    arrays, changed = subject.copies(0, 2), subject.resampled(0, replaced, seed)
    known = subject.mixes.get((place, seed))
    if known is None:
        known = subject.mixes[place, seed] = difference(subject.run(arrays), subject.run(changed))[place]
    return arrays, changed, known


def noise(subject: Subject, sequence: int, count: int, runs: int = 3) -> float:
    """How much equal runs differ: 0.0 for a deterministic model."""
    arrays = subject.copies(sequence, count)
    first = subject.run(arrays)
    return max(float(difference(first, subject.run(arrays)).max(initial=0.0)) for _ in range(runs - 1))


def largest(values: Floats) -> float:
    """The largest absolute value among the finite ones."""
    return float(np.abs(values[np.isfinite(values)]).max(initial=0.0))


def departed(found: Floats, expected: Floats, scale: float) -> tuple[Floats, NDArray[np.intp]]:
    """By how much each row departs from the same one computed in another shape, and the rows beyond the tolerance."""
    apart = difference(found, expected)
    return apart, np.flatnonzero(~(apart <= TOLERANCE * scale))


def difference(before: Floats, after: Floats) -> Floats:
    """The largest absolute difference per row; NaN on both sides is no difference, on one side an infinite one.

    Infinities that are equal are no difference either.
    """
    change = np.zeros(before.shape[:-1])
    differs = (before != after).any(-1)  # most rows are the same, which is quickly seen
    before, after = before[differs], after[differs]
    same = (np.isnan(before) & np.isnan(after)) | (before == after)
    with np.errstate(invalid="ignore"):
        apart = np.abs(np.where(same, 0.0, before) - np.where(same, 0.0, after))
    change[differs] = np.nan_to_num(apart, nan=np.inf).max(-1)
    return change
