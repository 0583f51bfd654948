"""State: a call does not depend on the calls before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.judging.probe import difference
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session

NAME = "state"
LEVEL = "quick"


def sections(session: Session) -> Iterator[Found]:
    """The same sequence before and after another one, and one of another length."""
    subject = session.subject
    arrays = subject.copies(0, 1)
    _, first, again = (subject.run(arrays) for _ in range(3))  # the first call may find what came before
    if difference(first, again).any():
        return  # not deterministic, which the sequence as given says
    everything = np.ones((1, subject.length), bool)
    subject.run(subject.resampled(0, everything, session.seed))
    apart = difference(first, subject.run(arrays))[0]
    leaks = tuple(Leak(int(row), -1, float(apart[row]), None, 0, 0) for row in np.flatnonzero(apart > 0))
    note = "the output for one input is another one after a call with other content: the model remembers"
    yield session.compared(NAME, leaks, tests=1, allowed="its own call", note=note)
