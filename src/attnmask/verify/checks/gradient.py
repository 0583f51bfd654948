"""Gradients: on which positions each output depends, by derivatives along random directions.

A cotangent of ones is blind behind a norm or a softmax, whose outputs have a constant sum; a random one is not. What
derivatives cannot see (selections, rounding, ``detach``) perturbation does.
"""

from __future__ import annotations

import numpy as np

from attnmask.verify.case import Bools, Case, Floats

MOST_ROWS = 128  # outputs that are derived one by one
GROUPS = 48  # of the outputs of longer sequences


def evidence(case: Case) -> tuple[Floats | None, str]:
    """How strongly each judged output depends on each position: (queries, keys); None, and why, where there is no derivative.

    Of long sequences, queries are taken together in groups that must not see the same positions: what one of them
    depends on counts for the group, at the positions that it must not see.
    """
    groups = _groups(case.allowed) & case.real
    groups = groups[groups.any(1)]
    try:
        found = case.subject.gradients(case.sequence, groups, case.seed) if len(groups) else np.zeros((0, 0))
    except Exception as error:  # a backward pass of somebody's own raises what it likes
        return None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"
    if found is None:
        return None, "nothing to derive from the inputs to the output"
    slopes = np.zeros(case.allowed.shape)
    for group, strengths in zip(groups, found, strict=True):
        hidden = ~case.allowed[group].any(0)  # what none of them may see
        slopes[np.flatnonzero(group)[-1]] = strengths if is_complete(case) else np.where(hidden, strengths, 0.0)
    return slopes, ""


def is_complete(case: Case) -> bool:
    """Whether every output is derived on its own, and every position replaced on its own."""
    return bool(max(case.allowed.shape) <= MOST_ROWS)


def _groups(allowed: Bools) -> Bools:
    """Groups of neighbouring queries (groups, queries)."""
    queries = len(allowed)
    numbers = np.arange(queries) * (queries if queries <= MOST_ROWS else GROUPS) // queries
    return np.asarray(numbers[None] == np.arange(numbers[-1] + 1)[:, None])
