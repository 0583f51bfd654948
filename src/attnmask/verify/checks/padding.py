"""Padding: a third of the positions on the right, and on the left, where the model takes a padding mask that was not given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.report import GOOD, Section
from attnmask.verify.session import Found, Session, Skipped

NAME = "padding"
LEVEL = "quick"

SHORT = 16  # positions, up to which each output is derived here, too; of more, only by the pads
MOST = 16  # tests


def sections(session: Session) -> Iterator[Found]:
    """One section for each side."""
    subject, (name, _) = session.subject, session.padding_input
    if name is None:
        masks = session.masks
        hint = f"; one of {', '.join(masks)} may be one: write padding={masks[0]!r}" if masks else ""
        yield Skipped(NAME, f"the model takes no padding mask of a known name{hint}")
        return
    if name in subject.arrays:
        return  # it was given, and is judged as it was
    found = list(_sides(session))
    odd = [section for section in found if section.outcome not in GOOD]
    if subject.queries != subject.length and len(odd) == 1:  # pooled at the first position, or at the last
        yield from (section for section in found if section not in odd)
        yield Skipped(odd[0].name, "outputs are not one for each position, and read one that is a pad there")
        return
    yield from found


def _sides(session: Session) -> Iterator[Section]:
    subject = session.subject
    pads, positions = max(1, subject.length // 3), np.arange(subject.length)
    for side, valid in (("right", positions < subject.length - pads), ("left", positions >= pads)):
        padded, together = session.padded(subject, valid), subject.length > SHORT
        yield session.judge(f"{pads} {side} pads", padded, valid=valid, together=together, most=MOST)
