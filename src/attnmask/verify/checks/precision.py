"""Precision: the same in the other number formats of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session

NAME = "precision"
LEVEL = "thorough"

FORMATS = ("float64", "float32", "bfloat16", "float16")


def sections(session: Session) -> Iterator[Found]:
    """One section for each format that the weights do not have."""
    for name in FORMATS:
        subject = session.subject.in_format(name)
        if subject is not None:
            yield session.judge(name, subject, valid=session.valid(0), derived=False)
