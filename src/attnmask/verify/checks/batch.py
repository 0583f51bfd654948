"""Batch: the other sequences of a batch never matter."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.verify.judging.together import OWN, departing, mixing
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session

NAME = "batch"
LEVEL = "quick"

DRAWS = 3


def sections(session: Session) -> Iterator[Found]:
    """A sequence first, and last, in a batch of two, whose other sequence is replaced."""
    leaks, module = mixing(session.subject, session.seed)
    if not leaks and not session.subject.draws:
        draws = (list(_otherwise_alone(session, session.seed + number)) for number in range(DRAWS))
        first = next(draws)
        leaks = first if first and all(draws) else []  # a selection may be another one once, by rounding
    yield session.compared(NAME, leaks, tests=4, allowed=OWN, module=module)


def _otherwise_alone(session: Session, seed: int) -> Iterator[Leak]:
    """Two sequences, one of them with pads where there is a padding mask, in a batch and each alone."""
    subject, length = session.subject.exact(), session.subject.length
    everything = np.ones((2, length), bool)
    arrays = subject.resampled(0, everything, seed)
    name, _ = session.padding_input
    valid = np.ones((2, length), bool)
    if name is not None:
        valid[0, length - max(1, length // 3) :] = False
        arrays[name] = session.mask_of(valid)
    together = subject.with_inputs(**arrays)
    found = together.run(arrays)
    for place in (0, 1):
        alone = together.run(together.copies(place, 1))[0]
        yield from departing(found[place], alone, valid[place], (place, 1 - place))
