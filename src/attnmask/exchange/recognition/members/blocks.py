"""Patterns of blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from attnmask.define.mask import Mask
from attnmask.define.masks.blocks import blocks
from attnmask.exchange.recognition.pairs import Bools
from attnmask.exchange.recognition.view import View


def patterns(view: View) -> Iterator[Mask]:
    """The largest blocks that are wholly visible or wholly hidden, cells left open counting for either."""
    if view.q_start < 0:
        return
    heads = view.must.shape[:2] != (1, 1)
    sizes = [_size(view, 2, view.q_start), _size(view, 3, 0)]
    if min(sizes) < 2:
        return
    common = math.gcd(*sizes)
    for q_size, k_size in dict.fromkeys([(common, common), tuple(sizes)]):
        cells = _by_blocks(view.must, view.q_start, q_size, k_size)
        if min(q_size, k_size) > 1 and min(cells.shape[2:]) > 1:
            yield blocks(cells if heads else cells[0, 0], q_size if q_size == k_size else [q_size, k_size])


def _size(view: View, axis: int, start: int) -> int:
    """What divides every position at which a line differs from the one before it; 1 soon means that there is none."""
    length = view.must.shape[axis]
    size = 0
    must, hidden = np.moveaxis(view.must, axis, 0), np.moveaxis(view.hidden, axis, 0)
    for first in range(0, length - 1, 64):  # a mask that is no pattern is found out early
        was, is_ = slice(first, min(first + 64, length - 1)), slice(first + 1, first + 65)
        changed = (must[is_] & hidden[was]) | (must[was] & hidden[is_])
        places = np.flatnonzero(changed.any((1, 2, 3))) + first + 1 + start
        size = math.gcd(size, *places.tolist())
        if size == 1:
            return 1
    return size or length


def _by_blocks(visible: Bools, q_start: int, q_size: int, k_size: int) -> Bools:
    """Whether something is visible in each block; those before the first query see nothing."""
    first = q_start // q_size
    places = np.arange(q_start, q_start + visible.shape[2])
    starts = np.flatnonzero(np.diff(places // q_size, prepend=first - 1))
    rows = np.logical_or.reduceat(visible, starts, axis=2)
    cells = np.logical_or.reduceat(rows, np.arange(0, visible.shape[3], k_size), axis=3)
    return np.pad(cells, ((0, 0), (0, 0), (first, 0), (0, 0)))
