"""Truncation: a sequence that ends earlier gives the same outputs, where none of them may see what is cut off."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.judging.case import Floats
from attnmask.verify.judging.probe import TOLERANCE, departed, largest
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session
from attnmask.verify.subjects.subject import Subject

NAME = "truncation"
LEVEL = "quick"


def sections(session: Session) -> Iterator[Found]:
    """Half of the sequence, and all but the last position."""
    subject, case = session.subject.exact(), session.case(NAME)
    lengths = [one for one in sorted({subject.length // 2, subject.length - 1}) if one >= 2]
    lengths = [one for one in lengths if subject.queries == subject.length and not case.allowed[:one, one:].any()]
    if not lengths or subject.draws:
        return
    whole = subject.run(subject.copies(0, 1))[0]
    scale = largest(whole)
    leaks = [leak for one in lengths for leak in _differing(subject.cut(one), whole, one, scale)]
    module = None
    if leaks:
        short = subject.cut(leaks[0].key)
        module = subject.first_change(subject.copies(0, 1), short.copies(0, 1), 0, leaks[0].query, TOLERANCE)
    note = "outputs before the end change with where the end is"
    yield session.compared(NAME, leaks, tests=len(lengths), module=module, note=note)


def _differing(cut: Subject, whole: Floats, length: int, scale: float) -> list[Leak]:
    """The outputs that are others than before the cut."""
    apart, rows = departed(cut.run(cut.copies(0, 1))[0], whole[:length], scale)
    return [Leak(int(row), length, float(apart[row]), None) for row in rows]
