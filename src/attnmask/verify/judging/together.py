"""Sequences in one batch, beside what each of them gives alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.judging.case import Bools, Floats
from attnmask.verify.judging.probe import departed, influence, largest, mixed
from attnmask.verify.report import Leak
from attnmask.verify.subjects.subject import Subject

OWN = "its own sequence"  # what outputs may depend on
FAINT = 1000.0  # units, beside what the sequence itself does: experts that get other numbers of tokens round otherwise


def departing(found: Floats, alone: Floats, valid: Bools, places: tuple[int, int]) -> Iterator[Leak]:
    """The real outputs of the sequence at one place that are others than alone, because of the one at another place."""
    apart, others = departed(found, alone, largest(alone))
    rows = valid if len(found) == len(valid) else np.ones(len(found), bool)
    for row in others[rows[others]]:
        yield Leak(int(row), -1, float(apart[row]), None, *places)


def mixing(subject: Subject, seed: int) -> tuple[list[Leak], str | None]:
    """What of a sequence, first and last of two, moves when the other one is replaced; and the first module that does."""
    leaks: list[Leak] = []
    module = None
    own = influence(subject, 0, np.ones((1, subject.length), bool), seed)
    for place in (0, 1):
        arrays, changed, apart = mixed(subject, place, seed)
        rows = np.flatnonzero(apart > FAINT * subject.unit * largest(own))
        if len(rows) and not leaks:
            module = subject.first_mixing(arrays, changed, place)
        leaks += [Leak(int(row), -1, float(apart[row]), None, place, 1 - place) for row in rows]
    return leaks, module
