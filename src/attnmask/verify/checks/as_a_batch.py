"""As a batch: where several sequences are given, with documents and pads of their own, each gives what it gives alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.judging.case import Case
from attnmask.verify.judging.probe import TOLERANCE, difference, largest
from attnmask.verify.judging.together import OWN, departing
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session
from attnmask.verify.subjects.arrays import Array
from attnmask.verify.subjects.subject import Subject

NAME = "as a batch"
LEVEL = "quick"


def sections(session: Session) -> Iterator[Found]:
    """One section, where there is more than one sequence."""
    if session.subject.batch < 2 or session.subject.draws:
        return
    subject = session.subject.exact()
    leaks, module = list(_departing(session, subject, subject.arrays)), None
    if leaks and not list(_departing(session, subject, _redrawn(subject, session.seed))):
        leaks = []  # a selection may be another one once, by rounding
    if leaks:
        leaks, module = _located(session, subject, leaks)
    note = "a sequence gives other outputs in the batch than alone"
    yield session.compared(NAME, leaks, tests=subject.batch, allowed=OWN, module=module, note=note)


def _departing(session: Session, subject: Subject, arrays: dict[str, Array]) -> Iterator[Leak]:
    """The real outputs that are others in a batch than alone."""
    batch = subject.with_inputs(**arrays)
    found = batch.run(arrays)
    for place in range(batch.batch):
        alone = batch.run(batch.copies(place, 1))[0]
        yield from departing(found[place], alone, session.valid(place), (place, int(place == 0)))


def _redrawn(subject: Subject, seed: int) -> dict[str, Array]:
    """The batch as it was given, with other content."""
    everything = np.ones((1, subject.length), bool)
    rows = [subject.resampled(place, everything, seed + place)[subject.vary] for place in range(subject.batch)]
    return {**subject.arrays, subject.vary: np.concatenate(rows)}


def _located(session: Session, subject: Subject, found: list[Leak]) -> tuple[list[Leak], str | None]:
    """The forbidden pairs of a sequence that the batch lets through, if any; and the module that does."""
    for place in dict.fromkeys(leak.sequence for leak in found):
        case = session.case(NAME, subject, valid=session.valid(place), sequence=place)
        pairs = [leak for key in range(subject.length) for leak in _pairs(case, key, session.seed)]
        if pairs:
            pairs.sort(key=lambda leak: leak[:2])
            after = _with_other(subject, place, pairs[0].key, session.seed)
            return pairs, subject.first_change(subject.arrays, after, place, pairs[0].query)
    first = found[0]
    alone = subject.with_inputs(**subject.copies(first.sequence, 1))
    return found, subject.first_departing(alone, first.query, place=first.sequence)


def _pairs(case: Case, key: int, seed: int) -> Iterator[Leak]:
    """The outputs that must not see a position and move, in the batch as it was given, when it is replaced."""
    if not case.forbidden[:, key].any():
        return
    subject, place = case.subject, case.sequence
    after = subject.run(_with_other(subject, place, key, seed))
    apart = difference(subject.run(subject.arrays)[place], after[place])
    floor = TOLERANCE * largest(after[place])
    for query in np.flatnonzero(case.forbidden[:, key] & (apart > floor)):
        yield Leak(int(query), key, float(apart[query]), None, place)


def _with_other(subject: Subject, place: int, key: int, seed: int) -> dict[str, Array]:
    """The batch as it was given, with other content at a position of one sequence."""
    array = subject.arrays[subject.vary].copy()
    positions = np.arange(subject.length)[None] == key
    array[place] = subject.resampled(place, positions, seed)[subject.vary][0]
    return {**subject.arrays, subject.vary: array}
