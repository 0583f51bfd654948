"""Lengths: one position less and more, and the next multiples of what kernels and models count in."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session, Skipped

NAME = "lengths"
LEVEL = "quick"

MULTIPLES = (8, 16, 64, 128)
NEAR = 4  # times the given length, beyond which no length is tried unasked
MOST = 8  # tests per length; half of them where it is more than twice as long


def sections(session: Session) -> Iterator[Found]:
    """One section for each length; then the sizes of the model that none of them crossed."""
    lengths = session.lengths or tuple(_near(session.subject.length))
    for length in lengths:
        other = session.subject.at_length(length, session.seed)
        most = MOST if length <= 2 * session.subject.length else MOST // 2
        yield session.judge(f"length {length}", other, derived=False, most=most)
    longest = max((*lengths, session.subject.length))
    beyond = {name: size for name, size in session.subject.sizes_inside.items() if size >= longest}
    if beyond:
        said = ", ".join(f"{name}={size}" for name, size in beyond.items())
        yield Skipped(
            "longer", f"no length crossed the model's own sizes {said}: write lengths=[{max(beyond.values()) + 1}]"
        )


def _near(length: int) -> list[int]:
    found = {length - 1, length + 1, *(-(-length // multiple) * multiple for multiple in MULTIPLES)} - {length}
    return sorted(one for one in found if 2 <= one <= NEAR * length)
