"""Implementations: eager attention and torch's own give one answer, and where they do not it is said which one leaks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.judging.case import Floats
from attnmask.verify.judging.probe import TOLERANCE, departed, largest
from attnmask.verify.report import GOOD, Leak, Section
from attnmask.verify.session import Found, Session, Skipped
from attnmask.verify.subjects.subject import Subject

NAME = "implementations"
LEVEL = "thorough"

KINDS = ("eager", "sdpa")  # flex would be compiled for each shape


def sections(session: Session) -> Iterator[Found]:
    """One section for each other implementation, and one for what they give."""
    others = {kind: session.subject.with_attention(kind) for kind in KINDS}
    known = {kind: other for kind, other in others.items() if other is not None}
    if not known:
        yield Skipped(NAME, "attention has one implementation here")
        return
    judged = [
        session.judge(f"attention: {kind}", other, valid=session.valid(0), derived=False)
        for kind, other in known.items()
    ]
    yield from judged
    if all(section.outcome in GOOD for section in judged):
        yield _compared(session, known)


def _compared(session: Session, others: dict[str, Subject]) -> Section:
    """The outputs of real positions, with pads on the right where there is a padding mask."""
    valid = session.valid(0)
    if session.padding_input[0] is not None and valid.all():
        valid = np.arange(len(valid)) < len(valid) - max(1, len(valid) // 3)

    def outputs(subject: Subject) -> Floats:
        exact = subject.exact()
        padded = session.padded(exact, valid) if session.padding_input[0] is not None else exact
        found = padded.run(padded.copies(0, 1))[0]
        return np.asarray(found[valid] if len(found) == len(valid) else found)

    expected = outputs(session.subject)
    leaks: list[Leak] = []
    for other in others.values():
        apart, rows = departed(outputs(other), expected, largest(expected))
        leaks += [Leak(int(row), -1, float(apart[row]), None) for row in rows]
    note = f"{', '.join(others)} and what was given differ by more than {TOLERANCE:g}, though none of them leaks"
    return session.compared(NAME, leaks, tests=len(others), note=note)
