"""Gradient checkpointing: the same where layers are computed again for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session, Skipped

NAME = "gradient checkpointing"
LEVEL = "thorough"

MOST = 6  # tests, each in runs of its own, as in training mode


def sections(session: Session) -> Iterator[Found]:
    """One section, where a model has it."""
    subject = session.subject.checkpointed()
    if subject is None:
        yield Skipped(NAME, "the model has none")
        return
    yield session.judge(NAME, subject, valid=session.valid(0), derived=False, most=MOST)
