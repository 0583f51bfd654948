"""Cache: tokens that come one by one, or several at once onto a warm cache, give what one pass over all of them gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session, Skipped

NAME = "cache"
LEVEL = "thorough"


def sections(session: Session) -> Iterator[Found]:
    """One section for each way to cut the sequence."""
    subject, case = session.subject, session.case(NAME)
    if not subject.holds_ids or "past_key_values" not in getattr(subject, "parameters", ()):
        yield Skipped(NAME, "the model takes no past_key_values")
        return
    if getattr(getattr(subject.model, "config", None), "is_encoder_decoder", False):
        yield Skipped(NAME, "a decoder with an encoder is not decoded here")
        return
    if np.triu(case.allowed, 1).any():
        yield Skipped(NAME, "outputs may depend on later positions, which a cache does not hold")
        return
    half, third = max(1, subject.length // 2), max(1, subject.length // 3)
    ways = {
        "one by one": [half] + [1] * (subject.length - half),
        "several at once": [third, third, subject.length - 2 * third],
    }
    for how, chunks in ways.items():
        found = subject.first_cache_difference([size for size in chunks if size])
        leaks = () if found is None else (Leak(found[0], max(found[0] - 1, 0), found[1], None),)
        note = "decoding with a cache departs from the full pass"
        yield session.compared(f"{NAME}, {how}", leaks, tests=len(chunks), note=note)
