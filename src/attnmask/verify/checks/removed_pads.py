"""Removed pads: real tokens followed by pads give what they give alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.probe import difference
from attnmask.verify.report import Leak, Section
from attnmask.verify.session import Found, Session, Skipped

NAME = "removed pads"
LEVEL = "quick"

TOLERANCE = 1e-4  # of the largest output: other shapes are added up in another order


def sections(session: Session) -> Iterator[Found]:
    """One section, with a third of the positions as pads on the right."""
    subject, (name, real_is_true) = session.subject.exact(), session.padding_input
    if name is None:
        yield Skipped(NAME, "no padding mask is known")
        return
    if subject.queries != subject.length or subject.draws:
        yield Skipped(NAME, "there is not one output for each position, or outputs are drawn")
        return
    real = subject.length - max(1, subject.length // 3)
    if real < 2:
        return
    valid = np.repeat((np.arange(subject.length) < real)[None], subject.batch, axis=0)
    mask = (valid if real_is_true else ~valid).astype(np.int64 if real_is_true else bool)
    padded = subject.with_inputs(**{name: mask})
    alone = padded.cut(real)
    found, expected = padded.run(padded.copies(0, 1))[:, :real], alone.run(alone.copies(0, 1))
    apart = difference(found, expected)[0]
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    leaks = [Leak(int(row), real, float(apart[row]), None) for row in np.flatnonzero(~(apart <= TOLERANCE * scale))]
    case = session.case(NAME)
    module = None
    if leaks:
        module = subject.first_change(padded.copies(0, 1), alone.copies(0, 1), 0, leaks[0].query, TOLERANCE)
    yield Section(
        name=NAME,
        allowed=str(case.mask),
        tests=1,
        outcome="leak" if leaks else "none",
        largest_forbidden=max((leak.change for leak in leaks), default=0.0),
        largest_allowed=scale,
        leaks=tuple(leaks),
        module=module,
        observed=None,
        allowed_cells=case.allowed,
        seen_cells=np.zeros_like(case.allowed),
        real_rows=case.real,
        notes=("real outputs change with how many pads follow",) * bool(leaks),
    )
