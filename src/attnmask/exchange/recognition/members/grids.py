"""Neighbourhoods and lines on grids of one to three axes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from attnmask.define.mask import Mask
from attnmask.define.masks.axial import axial
from attnmask.define.masks.grid import grid
from attnmask.exchange.recognition.pairs import Ints
from attnmask.exchange.recognition.view import View

SMALLEST = 2  # positions along an axis
FEWEST = 6  # positions of a grid that can be told from other kinds


class Steps(NamedTuple):
    """How many keys a query sees along an axis, and how far each is from the next."""

    kernel: int
    dilation: int


def grids(view: View) -> Iterator[Mask]:
    """The grids on which the keys of a query in the middle form a box, and every query sees as many, or fewer at borders."""
    sizes = view.rows.over(0, 1).must
    query = _in_the_middle(sizes, view)
    keys = np.flatnonzero(view.must[0, 0, query])
    used = np.flatnonzero(view.columns.over(0, 1).must)
    if view.ends[1] < FEWEST or not 0 < len(keys) < view.ends[1] or not len(used) or view.q_start < 0:
        return
    for size in dict.fromkeys((view.ends[1], int(used[-1]) + 1)):
        for shape in _shapes(size):
            yield from _on(shape, keys)


def _in_the_middle(sizes: Ints, view: View) -> int:
    """Of the queries that see most keys, the one nearest to the middle of the keys."""
    most = np.flatnonzero(sizes == sizes.max())
    return int(most[np.abs(most + view.q_start - view.ends[1] // 2).argmin()])


def _shapes(size: int) -> Iterator[tuple[int, ...]]:
    """All ways to lay positions out on one to three axes."""
    divisors = [one for one in range(SMALLEST, size // SMALLEST + 1) if size % one == 0]
    yield (size,)
    yield from ((one, size // one) for one in divisors)
    for one, two in product(divisors, divisors):
        if size % (one * two) == 0 and size // (one * two) >= SMALLEST:
            yield (one, two, size // (one * two))


def _on(shape: tuple[int, ...], keys: Ints) -> Iterator[Mask]:
    """The members of ``axial`` and ``grid`` on one grid in which a query sees these keys."""
    if keys[-1] >= math.prod(shape):
        return
    steps = [_steps(np.unique(along)) for along in np.unravel_index(keys, shape)]
    kernels = [step.kernel for step in steps]
    if math.prod(kernels) != len(keys) or len(keys) == 1:
        return
    whole = [axis for axis, wide in enumerate(kernels) if wide == shape[axis]]
    if all(wide in (1, length) for wide, length in zip(kernels, shape, strict=True)) and len(shape) > 1:
        yield axial(list(shape), whole[0] if len(whole) == 1 else whole)
    dilations = [step.dilation for step in steps]
    fits = all(step.kernel * step.dilation <= length for step, length in zip(steps, shape, strict=True))
    for edge in ("shift", "clip") if fits else ("clip",):
        yield grid(_one_or_all(shape), _one_or_all(kernels, shape), _one_or_all(dilations, shape), edge)


def _steps(along: Ints) -> Steps:
    gaps = np.diff(along)
    uniform = len(gaps) > 0 and gaps.min() == gaps.max()
    return Steps(len(along), int(gaps[0]) if uniform else 1)


def _one_or_all(numbers: object, shape: object = None) -> object:
    listed = list(numbers)  # type: ignore[call-overload]
    alike = shape is not None and len(set(listed)) == 1
    return listed[0] if alike or len(listed) == 1 else listed
