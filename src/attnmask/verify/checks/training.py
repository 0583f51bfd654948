"""Training: the same in training mode, where masks may be off, and norms count over the batch and over time."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session

NAME = "training mode"
LEVEL = "quick"

MOST = 6  # tests, each in runs of its own: in training mode, copies in one batch may see each other


def sections(session: Session) -> Iterator[Found]:
    """One section, where there is such a mode, and one with gradient checkpointing."""
    for name, subject in {
        NAME: session.subject.in_training(),
        "gradient checkpointing": session.subject.checkpointed(),
    }.items():
        if subject is not None:
            yield session.judge(name, subject, valid=session.valid(0), derived=False, most=MOST)
