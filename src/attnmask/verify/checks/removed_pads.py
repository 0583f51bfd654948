"""Removed pads: real tokens with pads after them, or before them, give what they give alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.probe import TOLERANCE, departed, largest
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session, Skipped
from attnmask.verify.subject import Subject

NAME = "removed pads"
LEVEL = "quick"


def sections(session: Session) -> Iterator[Found]:
    """One section, with a third of the positions as pads."""
    subject, (name, _) = session.subject.exact(), session.padding_input
    if name is None:
        yield Skipped(NAME, "no padding mask is known")
        return
    if subject.queries != subject.length or subject.draws:
        yield Skipped(NAME, "there is not one output for each position, or outputs are drawn")
        return
    pads = max(1, subject.length // 3)
    if subject.length - pads < 2:
        return
    found = [_differing(session, subject, pads, left) for left in (False, True)]
    leaks, module = (
        found[0] if all(leaks for leaks, _ in found) else ([], None)
    )  # some models take pads on one side only
    note = "real outputs change with how many pads there are, on either side"
    yield session.compared(NAME, leaks, tests=2, module=module, note=note)


def _differing(session: Session, subject: Subject, pads: int, left: bool) -> tuple[list[Leak], str | None]:
    """The outputs of real tokens that are others without the pads, and the first module that gives others."""
    positions = np.arange(subject.length)
    valid = positions >= pads if left else positions < subject.length - pads
    padded = session.padded(subject, valid)
    alone = padded.cut(subject.length - pads)
    if left:
        alone = alone.with_inputs(
            **{
                key: padded.arrays[key][:, pads:]
                for key in alone.arrays
                if alone.arrays[key].shape != padded.arrays[key].shape
            }
        )
    expected = alone.run(alone.copies(0, 1))[0]
    apart, rows = departed(padded.run(padded.copies(0, 1))[0, valid], expected, largest(expected))
    leaks = [Leak(int(row), int(np.flatnonzero(~valid)[0]), float(apart[row]), None) for row in rows]
    module = None
    if leaks and not left:
        module = subject.first_change(padded.copies(0, 1), alone.copies(0, 1), 0, leaks[0].query, TOLERANCE)
    return leaks, module
