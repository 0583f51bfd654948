"""Batch: the other sequences of a batch never matter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.probe import influence, mixed
from attnmask.verify.report import Leak, Section
from attnmask.verify.session import Found, Session

NAME = "batch"
LEVEL = "quick"

FAINT = 1000.0  # units, beside what the sequence itself does: experts that get other numbers of tokens round otherwise


def sections(session: Session) -> Iterator[Found]:
    """A sequence first, and last, in a batch of two, whose other sequence is replaced."""
    subject = session.subject
    leaks: list[Leak] = []
    module = None
    own = influence(subject, 0, np.ones((1, subject.length), bool), session.seed)
    faint = FAINT * subject.unit * float(own[np.isfinite(own)].max(initial=0.0))
    for place in (0, 1):
        arrays, changed, apart = mixed(subject, place, session.seed)
        rows = np.flatnonzero(apart > faint)
        if len(rows) and not leaks:
            module = subject.first_mixing(arrays, changed, place)
        leaks += [Leak(int(row), -1, float(apart[row]), None, place, 1 - place) for row in rows]
    case = session.case(NAME)
    yield Section(
        name=NAME,
        allowed="its own sequence",
        tests=2,
        outcome="leak" if leaks else "none",
        largest_forbidden=max((leak.change for leak in leaks), default=0.0),
        largest_allowed=0.0,
        leaks=tuple(leaks),
        module=module,
        observed=None,
        allowed_cells=case.allowed,
        seen_cells=np.zeros_like(case.allowed),
        real_rows=case.real,
        notes=(),
    )
