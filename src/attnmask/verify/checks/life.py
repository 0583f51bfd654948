"""Life: whether outputs depend on anything at all, and which of them are no numbers.

A model whose output is constant leaks nothing, and nothing can be said of it. Outputs that are NaN whatever is put in (a
row that sees nothing, under a fill of -inf) cannot be judged; the others can.
"""

from __future__ import annotations

import numpy as np

from attnmask.verify.case import Case
from attnmask.verify.evidence import Life
from attnmask.verify.probe import influence


def evidence(case: Case) -> Life:
    """Of all queries of a case."""
    everything = np.ones((1, case.subject.length), bool)
    alive = influence(case.subject, case.sequence, everything, case.seed)[0]
    given = case.subject.run(case.subject.copies(case.sequence, 1))[0]
    return Life(alive, np.asarray(np.isnan(given).any(-1)))
