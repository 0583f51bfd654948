"""Life: whether outputs depend on anything at all, and which of them are no numbers.

A model whose output is constant leaks nothing, and nothing can be said of it. Outputs that are NaN whatever is put in (a
row that sees nothing, under a fill of -inf) cannot be judged; the others can.
"""

from __future__ import annotations

import numpy as np

from attnmask.verify.judging.case import Case
from attnmask.verify.judging.evidence import Life
from attnmask.verify.judging.probe import difference


def evidence(case: Case) -> Life:
    """Of all queries of a case."""
    everything = np.ones((1, case.subject.length), bool)
    given = case.subject.alone(case.sequence)
    other = case.subject.run(case.subject.resampled(case.sequence, everything, case.seed))[0]
    return Life(difference(given, other), np.asarray(np.isnan(given).any(-1)))
