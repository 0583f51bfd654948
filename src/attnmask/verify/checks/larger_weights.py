"""Larger weights: a finite fill that the scores of trained weights overcome hides nothing."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session

NAME = "larger weights"
LEVEL = "thorough"

TIMES = 100.0


def sections(session: Session) -> Iterator[Found]:
    """One section, where there are weights."""
    subject = session.subject.with_weights(TIMES)
    if subject is not None:
        yield session.judge(f"weights times {TIMES:g}", subject, valid=session.valid(0), derived=False)
