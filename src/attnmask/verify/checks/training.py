"""Training: the same in training mode, where masks may be off, and norms count over the batch and over time."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session

NAME = "training mode"
LEVEL = "quick"

MOST = 6  # tests, each in runs of its own: in training mode, copies in one batch may see each other


def sections(session: Session) -> Iterator[Found]:
    """One section, where there is such a mode."""
    training = session.subject.in_training()
    if training is not None:
        yield session.judge(NAME, training, valid=session.valid(0), derived=False, most=MOST)
