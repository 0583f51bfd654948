"""Lengths: one position less and more, and the next multiples of what kernels and models count in."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session

NAME = "lengths"
LEVEL = "quick"

MULTIPLES = (8, 16, 64, 128)
NEAR = 4  # times the given length, beyond which no length is tried unasked
MOST = 12  # tests per length


def sections(session: Session) -> Iterator[Found]:
    """One section for each length."""
    for length in session.lengths or _near(session.subject.length):
        yield session.judge(
            f"length {length}", session.subject.at_length(length, session.seed), derived=False, most=MOST
        )


def _near(length: int) -> list[int]:
    found = {length - 1, length + 1, *(-(-length // multiple) * multiple for multiple in MULTIPLES)} - {length}
    return sorted(one for one in found if 2 <= one <= NEAR * length)
