"""Masks that only ask how far the key is from the query: they are whole diagonals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np

from attnmask.define.mask import Mask, b, h, k, lookup, maximum, q, same
from attnmask.define.masks.causal import causal
from attnmask.define.masks.dilated import dilated
from attnmask.define.masks.strided import strided
from attnmask.define.masks.window import window
from attnmask.exchange.recognition.pairs import Bools, Ints
from attnmask.exchange.recognition.view import View

FEW = 4  # single diagonals that are named one by one


def causals(view: View) -> Iterator[Mask]:
    """``causal()``, which always may be a part."""
    yield causal()


def windows(view: View) -> Iterator[Mask]:
    """The band around everything visible, and the widest band in which everything may be; a side that cuts nothing is open."""
    lines, distances = view.diagonals.over(0, 1), view.distances
    for band in (distances[lines.some], distances[_run_nearest_zero(lines.full, distances)]):
        if len(band):
            yield from _bands(int(band.min()), int(band.max()), distances)


def _bands(low: int, high: int, distances: Ints) -> Iterator[Mask]:
    left = high if high < distances[-1] else None
    right = -low if low > distances[0] else None
    backwards = [(left, 0)] if low >= 0 or right is None else []
    for sides in dict.fromkeys([*backwards, (left, None), (left, right), (None, right)]):
        if sides != (None, None) and all(side is None or side >= 0 for side in sides):
            yield window(*sides)


def _run_nearest_zero(full: Bools, distances: Ints) -> Ints:
    """The places of the consecutive full diagonals nearest to distance 0."""
    places = np.flatnonzero(full)
    if not len(places):
        return places
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return min(runs, key=lambda run: int(np.abs(distances[run]).min()))


def dilations(view: View) -> Iterator[Mask]:
    """The step that divides all visible distances, and the smallest step whose multiples all may be visible.

    Only steps that fit in twice: of a single one, nobody can tell that it is repeated.
    """
    lines, distances = view.diagonals.over(0, 1), view.distances
    step = math.gcd(*distances[lines.some].tolist())
    longest = int(np.abs(distances).max()) // 2
    if 1 < step <= longest:
        yield dilated(step)
    full, zero = lines.full, -int(distances[0])
    if 0 <= zero < len(full) and full[zero]:
        steps = (step for step in range(2, longest + 1) if full[zero % step :: step].all())
        yield from map(dilated, islice(steps, 1))


def strides(view: View) -> Iterator[Mask]:
    """The smallest strides that may be visible as a whole."""
    full = view.diagonals.over(0, 1).full[view.distances >= 0]
    if view.distances[0] > 0 or len(full) < 4:
        return
    near = len(full) if full.all() else int(np.argmin(full))  # distances 0 .. near - 1
    yield from map(strided, islice((step for step in range(2, near + 1) if full[::step].all()), 2))


def single_distances(view: View) -> Iterator[Mask]:
    """Diagonals that may be visible while their neighbours may not; and a single visible one."""
    lines = view.diagonals.over(0, 1)
    full = lines.full
    inside = full[1:-1] & ~full[:-2] & ~full[2:]
    found = view.distances[1:-1][inside].tolist()
    if len(found) <= FEW:
        yield from (same(q - k, distance) for distance in found)
    if np.count_nonzero(lines.some) == 1:
        yield same(q - k, int(view.distances[lines.some][0]))


def windows_of_each(view: View) -> Iterator[Mask]:
    """A window for each head, for each batch row, or for each of both."""
    lines, distances = view.diagonals, view.distances
    for some, index in ((lines.over(0).some, (h,)), (lines.over(1).some, (b,)), (lines.some, (b, h))):
        if min(some.shape[:-1]) == 1 or not some.any(-1).all():
            continue
        lefts, rights = distances[-1] - some[..., ::-1].argmax(-1), -(distances[0] + some.argmax(-1))
        if lefts.min() < lefts.max():
            yield q - k <= lookup(lefts, *index)
        if rights.min() < rights.max():
            yield k - q <= lookup(rights, *index)


def steps_of_each(view: View) -> Iterator[Mask]:
    """A dilation for each head."""
    some = view.diagonals.over(0).some
    steps = [math.gcd(*view.distances[row].tolist()) for row in some]
    if min(steps) > 0 and len(set(steps)) > 1:
        yield same((q - k) % lookup(steps, h), 0)


def tables_of_distances(view: View) -> Iterator[Mask]:
    """Which distances are visible, where that is all that matters: of both signs, of those behind, of either sign alike."""
    lines, distances = view.diagonals.over(0, 1), view.distances
    if (lines.some & ~lines.full).any() or distances[0] > 0 or distances[-1] < 0:
        return
    zero = -int(distances[0])
    behind, ahead = lines.some[zero:], lines.some[zero::-1]
    both = min(len(behind), len(ahead))
    longer = behind if len(behind) > both else ahead
    if np.array_equal(behind[:both], ahead[:both]):
        yield lookup(longer, abs(q - k))
    yield lookup(behind, maximum(q - k, 0))
    yield lookup(lines.some, q - k + zero)
