"""Batch: the other sequences of a batch never matter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.probe import departed, influence, largest, mixed
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session

NAME = "batch"
LEVEL = "quick"

DRAWS = 3
FAINT = 1000.0  # units, beside what the sequence itself does: experts that get other numbers of tokens round otherwise


def sections(session: Session) -> Iterator[Found]:
    """A sequence first, and last, in a batch of two, whose other sequence is replaced."""
    subject = session.subject
    leaks: list[Leak] = []
    module = None
    own = influence(subject, 0, np.ones((1, subject.length), bool), session.seed)
    faint = FAINT * subject.unit * largest(own)
    for place in (0, 1):
        arrays, changed, apart = mixed(subject, place, session.seed)
        rows = np.flatnonzero(apart > faint)
        if len(rows) and not leaks:
            module = subject.first_mixing(arrays, changed, place)
        leaks += [Leak(int(row), -1, float(apart[row]), None, place, 1 - place) for row in rows]
    if not leaks and not subject.draws:
        draws = (list(_otherwise_alone(session, session.seed + number)) for number in range(DRAWS))
        first = next(draws)
        leaks = first if first and all(draws) else []  # a selection may be another one once, by rounding
    yield session.compared(NAME, leaks, tests=4, allowed="its own sequence", module=module)


def _otherwise_alone(session: Session, seed: int) -> Iterator[Leak]:
    """Two sequences, one of them with pads where there is a padding mask, in a batch and each alone."""
    subject, length = session.subject.exact(), session.subject.length
    everything = np.ones((2, length), bool)
    arrays = subject.resampled(0, everything, seed)
    name, _ = session.padding_input
    valid = np.ones((2, length), bool)
    if name is not None:
        valid[0, length - max(1, length // 3) :] = False
        arrays[name] = session.mask_of(valid)
    together = subject.with_inputs(**arrays)
    found = together.run(arrays)
    for place in (0, 1):
        alone = together.run(together.copies(place, 1))
        rows = valid[place] if found.shape[1] == length else np.ones(found.shape[1], bool)
        apart, others = departed(found[place], alone[0], largest(alone))
        for row in others[rows[others]]:
            yield Leak(int(row), -1, float(apart[row]), None, place, 1 - place)
