"""Training: the same in training mode, where masks may be off, and norms count over time or over the batch."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.judging.together import OWN, mixing
from attnmask.verify.session import Found, Session

NAME = "training mode"
LEVEL = "quick"

MOST = 6  # tests, each in runs of its own: in training mode, copies in one batch may see each other


def sections(session: Session) -> Iterator[Found]:
    """One section for a sequence alone and, if it leaks nothing, one for two in a batch, where there is such a mode."""
    training = session.subject.in_training()
    if training is None:
        return
    alone = session.judge(NAME, training, valid=session.valid(0), derived=False, most=MOST)
    yield alone
    if alone.outcome != "leak":
        training.keep_statistics()  # what mixes then is a fault
        leaks, module = mixing(training, session.seed)
        yield session.compared(f"{NAME}, batch", leaks, tests=2, allowed=OWN, module=module)
