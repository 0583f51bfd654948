"""Rounding: whether a small forbidden influence is a leak.

Rounding is about as large as the unit of the number format, beside what is allowed. So

    far above the unit      a leak, in whatever number format it vanishes
    far below it            a leak too: a path with a tiny factor, such as a weak fill, which larger scores overcome
    about the unit          rounding if it shrinks with the unit, in float64; and if it does not shrink because the model
                            computes in its own format, rounding if it does not follow what is put in: a leak moves the
                            output in one direction, further the more is put in, and rounding anywhere
"""

from __future__ import annotations

import numpy as np

from attnmask.verify.judging.case import Case
from attnmask.verify.judging.evidence import Floats, Judged, Perturbed
from attnmask.verify.judging.probe import influence
from attnmask.verify.subjects.subject import Subject

UNITS, POWER = (
    1000.0,
    0.6,
)  # up to so many units are about the unit, for sums of many numbers round often; of coarse formats fewer
WORST = 8  # tests that are made again
TINY = 1e-6  # of a unit
COHERENT = 0.5  # cosine between the answers to one and to one more of the same, on average; of rounding -0.5 to 0
DRAWS = 16
COMPARABLE = 4.0  # times smaller changes are looked at, too


def evidence(case: Case, perturbed: Perturbed, slopes: Floats | None, reference: float) -> Judged:
    """Judge the influence that was seen, ``reference`` being the size of an allowed change."""
    unit, largest = case.subject.unit, perturbed.largest
    share = largest / reference if reference else np.inf
    steepest = _steepest(case, slopes)
    if not np.isfinite(share) or share > about(unit):
        return Judged(False, "")
    if not largest and steepest < TINY * unit:
        return Judged(
            False, f"a path with a factor of {steepest:.0e}: nothing moves now, but larger scores overcome it"
        )
    exact = case.subject.in_double()
    if exact is None:
        return _by_direction(case, case.subject, perturbed)
    try:
        return _in_float64(case, exact, perturbed, steepest) or _by_direction(case, exact, perturbed)
    except RuntimeError:  # a kernel without float64
        return _by_direction(case, case.subject, perturbed)


def about(unit: float) -> float:
    """What is about the unit of a number format: 5e-5 in float32, 0.01 in float16, 0.04 in bfloat16."""
    return min(UNITS * unit, float(unit**POWER))


def _steepest(case: Case, slopes: Floats | None) -> float:
    """The largest forbidden derivative beside the largest allowed one."""
    if slopes is None or not slopes.max(initial=0.0):
        return 0.0
    return float(slopes[case.forbidden].max(initial=0.0) / slopes.max())


def _in_float64(case: Case, exact: Subject, perturbed: Perturbed, steepest: float) -> Judged | None:
    """Whether the influence shrinks with the unit; None if it does not."""
    everything, worst = np.ones((1, exact.length), bool), np.argsort(perturbed.changes.max(1, initial=0.0))[-WORST:]
    changes = influence(exact, case.sequence, perturbed.tests.replaced[worst], case.seed)
    again = float(np.where(perturbed.tests.rows[worst], changes, 0.0).max(initial=0.0))
    alive = float(influence(exact, case.sequence, everything, case.seed).max())
    slopes = exact.gradients(case.sequence, np.eye(len(case.real), dtype=bool), case.seed) if steepest else None
    if again <= about(exact.unit) * alive and _steepest(case, slopes) <= about(exact.unit):
        note = f"forbidden changes of {perturbed.largest:.1e} shrink to {again:.1e} in float64: rounding, not a leak"
        return Judged(True, note)
    return None


def _by_direction(case: Case, subject: Subject, perturbed: Perturbed) -> Judged:
    """Whether the answer to as much again is the same answer."""
    test = int(perturbed.changes.max(1).argmax())
    changes = perturbed.changes[test]
    rows = np.flatnonzero(perturbed.tests.rows[test] & (changes >= changes.max() / COMPARABLE))
    positions, cosines = perturbed.tests.replaced[test], []
    for seed in range(case.seed, case.seed + DRAWS):  # rounding may happen to agree once
        one, two = (subject.moved(case.sequence, positions, size, seed) for size in (1.0, 2.0))
        if one is None or two is None:
            return Judged(False, "")
        cosines.append([_cosine(one[row], two[row] - one[row]) for row in rows])  # nothing common but the direction
    if np.mean(cosines, axis=0).max() > COHERENT:
        return Judged(False, "")
    note = (
        f"forbidden changes of {perturbed.largest:.1e} do not follow what is put in: the model rounds in a number format "
        "of its own"
    )
    return Judged(True, note)


def _cosine(one: Floats, two: Floats) -> float:
    sizes = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one.ravel() @ two.ravel()) / sizes if sizes else 0.0
