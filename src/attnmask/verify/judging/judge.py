"""``judged``: all evidence of one case, and what follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attnmask.exchange.recognition.recognize import recognize
from attnmask.verify.checks import gradient, life, perturbation, rounding
from attnmask.verify.judging.case import Bools, Case, Floats
from attnmask.verify.judging.evidence import Life, Perturbed
from attnmask.verify.judging.probe import culprit, each_alone, noise, with_itself
from attnmask.verify.progress import Progress
from attnmask.verify.report import Leak, Section

LOUD = 10.0  # times the difference of equal runs
FAINT = 1e-5  # of the strongest influence of a kind: what is less is named only if there is nothing else


def judged(
    case: Case, say: Progress, *, derived: bool = True, together: bool = False, most: int | None = None
) -> Section:
    """The section of a report for one case.

    Args:
        case: the case.
        say: is told what is done next.
        derived: whether derivatives are taken, too.
        together: whether they are taken of all outputs at once: what none of them may see is enough.
        most: the number of tests, if not all are made: spread over all of them.
    """
    lives = life.evidence(case)
    notes = list(_about_nan(case, lives))
    case = case.judging(~lives.nan)
    perturbed = perturbation.evidence(case, most)
    say(f"{case.name}: {len(perturbed.tests.replaced)} forbidden regions at {case.subject.length} positions")
    if not case.forbidden.any():
        notes.append("nothing is forbidden here: no position could leak into another")
    slopes = None
    if derived:
        say(f"{case.name}: gradients of {len(case.allowed)} output rows")
        slopes, why = gradient.evidence(case, together=together)
        if slopes is None:
            notes.append(f"no gradients: {why}; only perturbation was used")
    outcome, more = _outcome(case, lives, perturbed, slopes)
    whole = derived and not together and gradient.is_complete(case) and outcome != "noise"
    unsure = whole and (slopes is None or bool((case.allowed & case.real[:, None] & ~(slopes > 0)).any()))
    alone = each_alone(case.subject, case.sequence, case.seed) if unsure or outcome == "leak" else None
    leaks, module, every = _located(case, perturbed, slopes, alone) if outcome == "leak" else ((), None, True)
    seen = _seen(case, slopes, alone, leaks)
    return Section(
        name=case.name,
        allowed=str(case.mask),
        tests=len(perturbed.tests.replaced),
        outcome=outcome,
        largest_forbidden=perturbed.largest,
        largest_allowed=lives.reference,
        leaks=leaks,
        module=module,
        observed=_observed(case, seen) if whole and every else None,
        allowed_cells=case.allowed,
        seen_cells=seen,
        real_rows=case.real,
        notes=(*notes, *more, *(_about_unused(case, seen) if whole else ())),
    )


def _about_nan(case: Case, lives: Life) -> list[str]:
    rows = np.flatnonzero(lives.nan & case.real)
    if not len(rows):
        return []
    module = case.subject.first_nan(case.sequence)
    place = f", from {module} on" if module else ""
    return [f"{_listed(rows)} NaN as given{place}: not judged. A row that sees nothing, under a fill of -inf, is NaN"]


def _outcome(case: Case, lives: Life, perturbed: Perturbed, slopes: Floats | None) -> tuple[str, list[str]]:
    """What a case comes to, and why."""
    if not case.real.any():
        return "nan", []
    influenced = perturbed.largest > 0 or (slopes is not None and bool((slopes[case.forbidden] > 0).any()))
    if influenced:
        floor = noise(case.subject, case.sequence, max(1, min(len(perturbed.tests.replaced), case.subject.at_once)))
        if floor > 0 and perturbed.largest <= LOUD * floor:
            return "noise", [
                f"two equal runs differ by {floor:.1e}: the model is not deterministic, nothing can be said"
            ]
        found = rounding.evidence(case, perturbed, slopes, lives.reference)
        return "rounding" if found.is_rounding else "leak", [found.note] if found.note else []
    dead = case.sees_something & ~(lives.alive > 0)
    if dead.any() and not (lives.alive[case.sees_something] > 0).any():
        return "dead", []
    return "none", [f"{_listed(np.flatnonzero(dead))} the same whatever the input is"] if dead.any() else []


def _listed(rows: NDArray[np.int64]) -> str:
    shown = ", ".join(str(row) for row in rows[:8].tolist()) + (" ..." if len(rows) > 8 else "")
    return f"output row {shown} is" if len(rows) == 1 else f"output rows {shown} are"


def _located(
    case: Case, perturbed: Perturbed, slopes: Floats | None, alone: Floats | None
) -> tuple[tuple[Leak, ...], str | None, bool]:
    """Every forbidden pair with an influence, first query first; the module that leaks first; whether these are all."""
    nothing = np.zeros(case.allowed.shape)
    moved, steep = (np.where(case.forbidden, nothing if one is None else one, 0.0) for one in (alone, slopes))
    found = np.argwhere(_strong(moved) | _strong(steep)).tolist()
    pairs = [_leak(case, query, key, moved[query, key], slopes) for query, key in found]
    every = bool(pairs)
    if not pairs:  # only replacing several positions together shows: a routing or counting leak
        test, query = min(np.argwhere(perturbed.changes > 0).tolist(), key=lambda place: place[1])
        positions = culprit(case.subject, case.sequence, perturbed.tests.replaced[test], query, case.seed)
        key = int(np.flatnonzero(positions)[0])
        pairs = [_leak(case, query, key, float(perturbed.changes[test, query]), slopes)]
    return tuple(pairs), _module(case, perturbed, moved, pairs[0]), every


def _module(case: Case, perturbed: Perturbed, alone: Floats, leak: Leak) -> str | None:
    """The first module that leaks, in the very run in which an output moved; by derivatives where none did."""
    subject, query = case.subject, leak.query
    if alone[query].any():
        replaced, row = np.eye(subject.length, dtype=bool), int(alone[query].argmax())
    elif perturbed.changes[:, query].any():
        replaced, row = perturbed.tests.replaced, int(perturbed.changes[:, query].argmax())
    else:
        return subject.first_slope(case.sequence, query, leak.key)
    first = row // subject.at_once * subject.at_once
    part = replaced[first : first + subject.at_once]
    if replaced is perturbed.tests.replaced:
        part = with_itself(subject, part)
    before, after = subject.copies(case.sequence, len(part)), subject.resampled(case.sequence, part, case.seed)
    return subject.first_change(before, after, row - first, query)


def _strong(strengths: Floats) -> Bools:
    """What is not faint beside the strongest."""
    return np.asarray(strengths > FAINT * np.where(np.isinf(strengths), 0.0, strengths).max(initial=0.0))


def _leak(case: Case, query: int, key: int, change: float, slopes: Floats | None) -> Leak:
    slope = None if slopes is None else float(slopes[query, key])
    return Leak(int(query), int(key), float(change), slope, case.sequence)


def _seen(case: Case, slopes: Floats | None, alone: Floats | None, leaks: tuple[Leak, ...]) -> Bools:
    """Which pairs have an influence, by derivatives or by what happens; of forbidden ones those that leak."""
    found = [strengths > 0 for strengths in (slopes, alone) if strengths is not None]
    seen: Bools = np.any([np.zeros(case.allowed.shape, bool), *found], axis=0) & case.allowed
    for leak in leaks:
        seen[leak.query, leak.key] = True
    return seen


def _observed(case: Case, seen: Bools) -> str | None:
    """What the whole model lets through, in notation; None where it is no simple mask."""
    if not case.real.all():
        return None
    name = str(recognize(seen))
    return None if "table" in name or "graph" in name or "<" in name else name


def _about_unused(case: Case, seen: Bools) -> list[str]:
    """A word about what outputs may depend on, and do not: a model can see too little, too."""
    allowed = case.allowed & case.sees_something[:, None]
    unused = np.argwhere(allowed & ~seen)
    if not len(unused):
        return []
    query, key = unused[0].tolist()
    return [f"{len(unused)} of {int(allowed.sum())} allowed pairs have no influence, such as query {query}, key {key}"]
