"""Documents in one sequence, read off what its outputs may depend on."""

from __future__ import annotations

import numpy as np

from attnmask.verify.judging.case import Case


def documents_of(case: Case) -> list[tuple[int, int]]:
    """Where each document starts and ends: runs of real positions between which nothing is visible.

    Empty where there is one run only, or where no run is longer than one position.
    """
    real = case.real[:, None] & case.real[None, :]
    queries, keys = np.nonzero(case.allowed & real)
    open_borders = np.zeros(len(case.real) + 1, np.int64)  # how many pairs lie on both sides of each border
    np.add.at(open_borders, np.minimum(queries, keys) + 1, 1)
    np.add.at(open_borders, np.maximum(queries, keys) + 1, -1)
    starts = np.flatnonzero(np.cumsum(open_borders)[:-1] == 0)
    runs = list(zip(starts.tolist(), [*starts[1:].tolist(), len(case.real)], strict=True))
    found = [(start, stop) for start, stop in runs if case.real[start:stop].all()]
    return found if len(found) > 1 and any(stop - start > 1 for start, stop in found) else []
