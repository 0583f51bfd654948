"""Removed pads: real tokens with pads after them, or before them, give what they give alone.

Many right models take pads on one side only: those that count positions themselves see their pads on the left counted. So
both sides must differ, or the left one alone where the positions of real tokens are told as ``position_ids``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attnmask.verify.excerpt import excerpt
from attnmask.verify.positions import placed, tells_positions
from attnmask.verify.probe import departed, largest
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session, Skipped
from attnmask.verify.subject import Subject
from attnmask.verify.together import first_module

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
    pads = max(1, subject.length // 3)
    if subject.length - pads < 2:
        return
    subject = _exact(session, pads)
    right, left = (_differing(session, subject, pads, side) for side in ("right", "left"))
    if right and left:  # some models take pads on one side only
        found: _Differing | None = right
        note = "real outputs change with how many pads there are, on either side"
    else:
        told = _told(subject, pads) if left else None
        found = _differing(session, told, pads, "left") if told else None
        note = "real outputs change with how many pads stand before them, although positions are told"
    if found is None:
        yield session.compared(NAME, [], tests=2)
    else:
        yield session.compared(NAME, found.leaks, tests=2, module=found.module(), note=note)


def _exact(session: Session, pads: int) -> Subject:
    """The subject in float64, if that is sound: a fill of float64 may be -inf in float32 inside, and pads then NaN."""
    exact = session.subject.exact()
    behind = session.padded(exact, np.arange(exact.length) >= pads)
    return session.subject if np.isnan(behind.run(behind.copies(0, 1))[0, pads:]).any() else exact


class _Differing(NamedTuple):
    """Outputs of real tokens that are others without the pads."""

    leaks: list[Leak]
    padded: Subject
    alone: Subject
    shift: int

    def module(self) -> str | None:
        """The first module that gives others."""
        return first_module(self.padded, self.alone, self.leaks[0].query, shift=self.shift)


def _differing(session: Session, subject: Subject, pads: int, side: str) -> _Differing | None:
    """What differs without the pads on one side, if anything does."""
    positions = np.arange(subject.length)
    valid = positions >= pads if side == "left" else positions < subject.length - pads
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
