"""Removed pads: real tokens with pads after them, or before them, give what they give alone.

Where pads are given, they are those that are removed. Where none are, they are tried on both sides, and many right models
take them on one side only: those that count positions themselves see their pads on the left counted. So both sides must
differ, or the left one alone where the positions of real tokens are told as ``position_ids``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attnmask.verify.judging.case import Bools
from attnmask.verify.judging.probe import departed, largest
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session, Skipped
from attnmask.verify.subjects.excerpt import excerpt
from attnmask.verify.subjects.positions import placed, tells_positions
from attnmask.verify.subjects.subject import Subject

NAME = "removed pads"
LEVEL = "quick"


def sections(session: Session) -> Iterator[Found]:
    """One section, with a third of the positions as pads."""
    subject, (name, _) = session.subject, session.padding_input
    if name is None:
        yield Skipped(NAME, "no padding mask is known")
        return
    if subject.queries != subject.length or subject.draws:
        yield Skipped(NAME, "there is not one output for each position, or outputs are drawn")
        return
    found, note = _as_given(session) or _tried(session)
    if found is None:
        yield session.compared(NAME, [], tests=2)
    else:
        yield session.compared(NAME, found.leaks, tests=2, module=found.module(), note=note)


def _as_given(session: Session) -> tuple[_Differing | None, str] | None:
    """What differs without the pads that were given; None where none were, or real tokens are not in one piece."""
    valid = session.valid(0)
    real = np.flatnonzero(valid)
    if valid.all() or len(real) < 2 or real[-1] - real[0] + 1 != len(real):
        return None
    note = (
        "real outputs change with the pads that are given; a model that takes position_ids is told those of real tokens"
    )
    return _differing(session, _exact(session, valid), valid), note


def _tried(session: Session) -> tuple[_Differing | None, str]:
    """What differs without a third of the positions as pads."""
    length = session.subject.length
    pads, positions = max(1, length // 3), np.arange(length)
    if length - pads < 2:
        return None, ""
    behind, before = positions < length - pads, positions >= pads
    subject = _exact(session, before)
    right, left = (_differing(session, subject, valid) for valid in (behind, before))
    if right and left:  # some models take pads on one side only
        return right, "real outputs change with how many pads there are, on either side"
    told = _told(subject, pads) if left else None
    found = _differing(session, told, before) if told else None
    return found, "real outputs change with how many pads stand before them, although positions are told"


def _exact(session: Session, valid: Bools) -> Subject:
    """The subject in float64, if that is sound: a fill of float64 may be -inf in float32 inside, and pads then NaN."""
    exact = session.subject.exact()
    padded = session.padded(exact, valid)
    return session.subject if np.isnan(padded.run(padded.copies(0, 1))[0, valid]).any() else exact


class _Differing(NamedTuple):
    """Outputs of real tokens that are others without the pads."""

    leaks: list[Leak]
    padded: Subject
    alone: Subject
    shift: int

    def module(self) -> str | None:
        """The first module that gives others."""
        return self.padded.first_departing(self.alone, self.leaks[0].query, shift=self.shift)


def _differing(session: Session, subject: Subject, valid: Bools) -> _Differing | None:
    """What differs where only the real tokens are left, if anything does."""
    first = subject.with_inputs(**subject.copies(0, 1))
    padded, shift = session.padded(first, valid), int(np.flatnonzero(valid)[0])
    alone = excerpt(padded, shift, shift + int(valid.sum()))
    expected, found = alone.run(alone.arrays)[0], padded.run(padded.arrays)[0, valid]
    apart, rows = departed(found, expected, largest(expected))
    pad = int(np.flatnonzero(~valid)[0])
    leaks = [Leak(shift + int(row), pad, float(apart[row]), None) for row in rows]
    return _Differing(leaks, padded, alone, shift) if leaks else None


def _told(subject: Subject, pads: int) -> Subject | None:
    """The same subject with the positions of real tokens behind pads on the left; None where the model has no use for them."""
    if tells_positions(subject):
        return subject
    places = np.maximum(np.arange(subject.length) - pads, 0)
    return placed(subject, np.repeat(places[None], subject.batch, 0))
