"""Larger inputs: hidden content so large that gates open, and finite fills are overcome."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session, Skipped

NAME = "larger inputs"
LEVEL = "thorough"

TIMES = 100.0


def sections(session: Session) -> Iterator[Found]:
    """One section, where inputs are floats."""
    if session.subject.holds_ids:
        yield Skipped(NAME, "ids have no size")
        return
    yield session.judge(NAME, session.subject.louder(TIMES), valid=session.valid(0), derived=False)
