"""Must see: what outputs have to depend on, where that is said: a bidirectional model that turned causal is wrong, too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.checks import gradient
from attnmask.verify.judging.case import cells
from attnmask.verify.judging.probe import each_alone
from attnmask.verify.report import Section
from attnmask.verify.session import Found, Session

NAME = "must see"
LEVEL = "quick"


def sections(session: Session) -> Iterator[Found]:
    """One section, if something was asked for: each position alone is replaced, and outputs are derived by it."""
    if session.must_see is None:
        return
    valid = session.valid(0)
    case = session.case(NAME, valid=valid)
    needed = (
        cells(session.must_see, len(case.allowed), case.subject.length, session.frame)[0] & case.real[:, None] & valid
    )
    moved = each_alone(case.subject, 0, session.seed)
    slopes, _ = gradient.evidence(case)
    seen = (moved > 0) | (False if slopes is None else slopes > 0)
    missing = np.argwhere(needed & ~seen).tolist()
    yield Section(
        name=NAME,
        allowed=str(case.mask),
        tests=case.subject.length,
        outcome="blind" if missing else "none",
        largest_forbidden=0.0,
        largest_allowed=float(np.where(needed, moved, 0.0).max(initial=0.0)),
        leaks=(),
        module=None,
        observed=None,
        allowed_cells=case.allowed | needed,
        seen_cells=seen,
        real_rows=case.real,
        notes=(f"must see: {session.must_see}",),
        missing=tuple((int(query), int(key)) for query, key in missing),
    )
