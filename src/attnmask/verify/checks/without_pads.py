"""Without pads: a padding mask that hides nothing, and none at all; models often take another path there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.session import Found, Session, Skipped

NAME = "without pads"
LEVEL = "quick"

MOST = 12  # tests


def sections(session: Session) -> Iterator[Found]:
    """One section for a mask that hides nothing, and one without a mask if it was given."""
    subject, (name, _) = session.subject, session.padding_input
    if name is None:
        yield Skipped(NAME, "no padding mask is known")
        return
    full = session.padded(subject, np.ones(subject.length, bool))
    yield session.judge(f"{name} that hides nothing", full, derived=False, most=MOST)
    if name in subject.arrays:
        yield session.judge(f"no {name}", subject.without(name), derived=False, most=MOST)
