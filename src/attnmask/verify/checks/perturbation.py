"""Perturbation: replace what a query must not see, and require that nothing at all happens to its output.

A test is a pair (positions S, queries T) such that no query of T may see a position of S. One run with S replaced tests
all of its pairs; ``verify/judging/probe.py`` finds few tests that cover all pairs.
"""

from __future__ import annotations

import numpy as np

from attnmask.verify.judging.case import Case
from attnmask.verify.judging.evidence import Perturbed
from attnmask.verify.judging.probe import Tests, moved_by, tests_of


def evidence(case: Case, most: int | None = None) -> Perturbed:
    """All tests of a case, or so many of them, spread over all."""
    tests = tests_of(case.allowed, case.real)
    if most is not None and most < len(tests.rows):
        chosen = np.linspace(0, len(tests.rows) - 1, most).astype(int)
        tests = Tests(tests.replaced[chosen], tests.rows[chosen])
    return Perturbed(tests, moved_by(case.subject, case.sequence, tests, case.seed))
