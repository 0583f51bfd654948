"""``nearest``: the known mask that differs from an array at the fewest cells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.define.masks.nothing import nothing
from attnmask.exchange.recognition.length import length
from attnmask.exchange.recognition.pairs import Bools, Ints
from attnmask.exchange.recognition.sample import Sample
from attnmask.exchange.recognition.search import Search, is_patterned
from attnmask.exchange.recognition.view import View

MOST = 16  # cells that are named one by one
SHARE = 16  # one cell in so many may differ from what is called nearest
CELL = 4  # a wrong cell costs so many positions: its own two, and being wrong
TRIED = 4  # descriptions of the sample that are compared with the whole array


class Nearest(NamedTuple):
    """A mask, the cells (batch, head, query, key) that it shows and the array does not, and those the other way round."""

    mask: Mask
    missing: Ints
    extra: Ints


def nearest(visible: Bools, q_start: int) -> Nearest:
    """The known mask that describes an array with the fewest cells added by hand.

    >>> array = np.tril(np.ones((1, 1, 8, 8), bool))
    >>> array[0, 0, 5, 2] = False
    >>> nearest(array, 0)
    Nearest(mask=causal(), missing=array([[0, 0, 5, 2]]), extra=array([], shape=(0, 4), dtype=int64))

    Args:
        visible: booleans (batch, heads, q_len, kv_len).
        q_start: the position of the first query; queries count from there in the cells as well.
    """
    many = visible.size // SHARE
    return _compared(_best(visible, q_start, (min(MOST, many), many)).mask, visible, q_start)


def nearly(visible: Bools, q_start: int, most: int) -> Nearest | None:
    """The known mask that differs from an array at ``most`` cells, if there is one."""
    best = _best(visible, q_start, (min(most, visible.size // SHARE),))
    return _compared(best.mask, visible, q_start) if best.wrong <= most else None


class _Candidate(NamedTuple):
    length: int
    mask: Mask
    wrong: int


def _best(visible: Bools, q_start: int, slacks: tuple[int, ...]) -> _Candidate:
    """Of what is found when so many cells may be wrong, the shortest, wrong cells counting."""
    sample = Sample(visible, q_start)
    price = CELL * max(visible.shape[2:]).bit_length()
    masks = [everything(), nothing()]
    for slack in dict.fromkeys(slacks) if is_patterned(visible) else ():
        if slack:
            search = Search(View(visible, visible, q_start, slack), sample, price)
            masks += [part.mask for part in search.descriptions()[:TRIED]]
    found = []
    for mask in dict.fromkeys(masks):
        wrong = int(np.count_nonzero(sample.dense(mask) != visible))
        found.append(_Candidate(length(mask) + price * wrong, mask, wrong))
    return min(found, key=lambda one: one.length)


def _compared(mask: Mask, visible: Bools, q_start: int) -> Nearest:
    shown = Sample(visible, q_start).dense(mask)
    origin = np.array([0, 0, q_start, 0])
    return Nearest(mask, np.argwhere(shown & ~visible) + origin, np.argwhere(visible & ~shown) + origin)
