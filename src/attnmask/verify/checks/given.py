"""As given: the call exactly as it was made, for each sequence of the batch."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session

NAME = "as given"
LEVEL = "quick"


def sections(session: Session) -> Iterator[Found]:
    """One section for each sequence."""
    batch = session.subject.batch
    for sequence in range(batch):
        name = NAME if batch == 1 else f"sequence {sequence}, {NAME}"
        yield session.judge(name, valid=session.valid(sequence), sequence=sequence)
