"""Special ids: padding, beginnings, ends and the like as content, from which models compute masks and positions."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.verify.session import Found, Session, Skipped

NAME = "special ids"
LEVEL = "thorough"


def sections(session: Session) -> Iterator[Found]:
    """One section, in which only special ids are put in."""
    subject = session.subject
    if not subject.holds_ids or not len(subject.special):
        yield Skipped(NAME, "no special ids are known: neither a padding_idx nor a configuration with ..._token_id")
        return
    yield session.judge(NAME, subject.with_words(subject.special), valid=session.valid(0), derived=False)
