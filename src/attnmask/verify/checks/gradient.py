"""Gradients: on which positions each output depends, by derivatives along random directions.

A cotangent of ones is blind behind a norm or a softmax, whose outputs have a constant sum; a random one is not. What
derivatives cannot see (selections, rounding, ``detach``) perturbation does.
"""

from __future__ import annotations

import numpy as np

from attnmask.verify.judging.case import Bools, Case, Floats
from attnmask.verify.report import in_a_line

MOST_ROWS = 128  # outputs that are derived one by one
GROUPS = 48  # of the outputs of longer sequences
FEW_GROUPS = 12  # of the outputs of large models
MUCH = 1e11  # products of a weight, a position and an output


def evidence(case: Case, *, together: bool = False) -> tuple[Floats | None, str]:
    """How strongly each judged output depends on each position: (queries, keys); None, and why, where there is no derivative.

    Of long sequences and of large models, queries are taken together in groups: what one of them depends on counts for
    the group, at the positions that none of it may see. ``together`` makes one group, for what nobody may see.
    """
    groups = _groups(case, together) & case.real
    groups = groups[groups.any(1)]
    try:
        found = case.subject.gradients(case.sequence, groups, case.seed) if len(groups) else np.zeros((0, 0))
    except Exception as error:  # a backward pass of somebody's own raises what it likes
        return None, in_a_line(error)
    if found is None:
        return None, "nothing to derive from the inputs to the output"
    slopes = np.zeros(case.allowed.shape)
    for group, strengths in zip(groups, found, strict=True):
        hidden = ~case.allowed[group].any(0)  # what none of them may see
        slopes[np.flatnonzero(group)[-1]] = strengths if group.sum() == 1 else np.where(hidden, strengths, 0.0)
    return slopes, ""


def is_complete(case: Case) -> bool:
    """Whether every output is derived on its own, and every position replaced on its own."""
    work = float(case.subject.weights_count) * case.subject.length * len(case.allowed)
    return bool(max(case.allowed.shape) <= MOST_ROWS and work < MUCH)


def _groups(case: Case, together: bool) -> Bools:
    """Groups of neighbouring queries (groups, queries)."""
    queries = len(case.allowed)
    few = FEW_GROUPS if case.subject.weights_count * case.subject.length * queries >= MUCH else GROUPS
    count = 1 if together else queries if is_complete(case) else min(few, queries)
    numbers = np.arange(queries) * count // queries
    return np.asarray(numbers[None] == np.arange(count)[:, None])
