"""Masks that only ask which query it is: whole rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.define.mask import Mask, b, lookup, q, same
from attnmask.exchange.recognition.view import View

FEW = 4  # queries that are named one by one


def first_queries(view: View) -> Iterator[Mask]:
    """The queries up to the last one that sees anything, and those before the first one that may not see all."""
    lines, count = view.rows.over(1), view.must.shape[2]
    ends = np.where(lines.some.any(1), count - lines.some[:, ::-1].argmax(1), 0)
    starts = np.where(lines.full.all(1), count, lines.full.argmin(1))
    for lengths in (ends, starts):
        if lengths.min() < count and lengths.max() > 0:
            end = lengths + view.q_start
            yield q < (lookup(end, b) if len(end) > 1 else int(end[0]))


def single_queries(view: View) -> Iterator[Mask]:
    """Queries that may see everything."""
    full = np.flatnonzero(view.rows.over(0, 1).full)
    if len(full) <= FEW:
        yield from (same(q, int(place) + view.q_start) for place in full)
