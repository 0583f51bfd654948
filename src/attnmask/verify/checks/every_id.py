"""Every id: each word of the vocabulary where it is hidden, for a path may open for a rare one only."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from attnmask.verify.checks import rounding
from attnmask.verify.judging.case import Bools, Case
from attnmask.verify.judging.probe import difference, largest, tests_of
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session, Skipped
from attnmask.verify.subjects.arrays import Array

NAME = "every id"
LEVEL = "thorough"

MOST = 2048  # ids, spread over a larger vocabulary
PLACES = 3  # sets of hidden positions


def sections(session: Session) -> Iterator[Found]:
    """One section, where inputs are ids and something is hidden."""
    subject = session.subject
    if not subject.holds_ids or len(subject.varied) > 1:
        yield Skipped(NAME, "inputs are not ids alone")
        return
    case = session.case(NAME, valid=session.valid(0))
    tests = tests_of(case.allowed, case.real)
    if not len(tests.rows):
        return
    chosen = np.unique(np.linspace(0, len(tests.rows) - 1, PLACES).astype(int))
    ids = np.setdiff1d(subject.vocabulary, subject.special)
    ids = ids[np.unique(np.linspace(0, len(ids) - 1, min(MOST, len(ids))).astype(int))]
    found = (leak for test in chosen for leak in _moved(case, tests.replaced[test], tests.rows[test], ids))
    leaks = list(islice(found, 1))
    module = subject.first_change(*_runs(case, leaks[0][1], leaks[0][0].key), 0, leaks[0][0].query) if leaks else None
    note = f"id {leaks[0][1]}, where it is hidden, moves outputs" if leaks else ""
    tried = len(chosen) * len(ids)
    yield session.compared(NAME, [leak for leak, _ in leaks], tests=tried, module=module, note=note)


def _moved(case: Case, hidden: Bools, rows: Bools, ids: NDArray[np.int64]) -> Iterator[tuple[Leak, int]]:
    """The outputs that may not notice which id hidden positions hold, and do; and the id."""
    subject = case.subject
    for start in range(0, len(ids), subject.at_once):
        part = ids[start : start + subject.at_once]
        arrays = subject.copies(case.sequence, len(part))
        before, after = subject.run(arrays), subject.run(_with(case, arrays, hidden, part))
        moved = np.where(rows, difference(before, after), 0.0) > rounding.about(subject.unit) * largest(before)
        for place, query in np.argwhere(moved).tolist():
            yield _leak(case, hidden, query, int(part[place])), int(part[place])


def _leak(case: Case, hidden: Bools, query: int, word: int) -> Leak:
    """The first hidden position that alone moves an output when it holds a word; the first of all if none does alone."""
    positions = np.flatnonzero(hidden)
    changes = [float(difference(*map(case.subject.run, _runs(case, word, int(key))))[0, query]) for key in positions]
    first = next((place for place, change in enumerate(changes) if change > 0), 0)
    return Leak(query, int(positions[first]), changes[first], None, case.sequence)


def _runs(case: Case, word: int, key: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """All inputs without and with a word at a position."""
    arrays = case.subject.copies(case.sequence, 1)
    return arrays, _with(case, arrays, np.arange(case.subject.length) == key, np.array([word]))


def _with(case: Case, arrays: dict[str, Array], positions: Bools, words: NDArray[np.int64]) -> dict[str, Array]:
    """All inputs with one word for each sequence at some positions."""
    array = arrays[case.subject.vary]
    shape = (1, -1, *[1] * (array.ndim - 2))
    changed = np.where(positions.reshape(shape), words.reshape(-1, *[1] * (array.ndim - 1)), array)
    return {**arrays, case.subject.vary: changed.astype(array.dtype)}
