"""Without cache: the same with ``use_cache=False``, with which models take other paths, such as looking for packed documents."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session, Skipped

NAME = "without cache"
LEVEL = "quick"

MOST = 12  # tests


def sections(session: Session) -> Iterator[Found]:
    """One section, where there is such an argument and nothing is said of it."""
    subject = session.subject
    if "use_cache" not in getattr(subject, "parameters", ()) or "use_cache" in subject.inputs:
        yield Skipped(NAME, "the model takes no use_cache, or is told")
        return
    other = subject.with_option("use_cache", False)
    yield session.judge(NAME, other, valid=session.valid(0), derived=False, most=MOST)
