"""``recognize``: the shortest known expression that is exactly a given boolean array.

recognize.py   array or mask -> the alignments that fit, the shortest first
exact.py       array + alignment -> its shortest description, or a table
search.py      which members of the kinds combine to it
members/       what each kind offers
nearest.py     the known mask that differs least, for what has no description
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from attnmask.define.frame import Frame
from attnmask.define.language import Apply
from attnmask.define.mask import Mask
from attnmask.define.masks.table import table
from attnmask.define.normal.canonical import normal_of
from attnmask.define.normal.named import named
from attnmask.define.selection import refuse_selection
from attnmask.define.tables import Table
from attnmask.define.text.parse import given
from attnmask.exchange.common import as_numpy
from attnmask.exchange.recognition.bounded import bounded
from attnmask.exchange.recognition.exact import exact, is_table
from attnmask.exchange.recognition.length import length
from attnmask.exchange.recognition.nearest import nearest
from attnmask.exchange.recognition.pairs import Bools
from attnmask.lower.arrays import numpy_of

SHOWN = 3  # cells in a text
FAR = 4  # one cell in so many may differ from a mask that is called near


class Fit(NamedTuple):
    """A position of the first query, and the mask that an array is, seen from there."""

    q_start: int
    mask: Mask


def recognize(value: Any, *, q_start: int | None = None) -> Mask:
    """The shortest known expression that is exactly this mask.

    >>> import attnmask as am
    >>> am.recognize([[True, False, False], [True, True, False], [False, True, True]])
    window(1)
    >>> am.recognize(am.table((am.causal() & am.padding([3, 2])).dense(4)))
    causal() & padding([3, 2])
    >>> am.recognize((am.causal() & (am.sinks(2) | am.window(2))).dense(8))
    causal() & (sinks(2) | window(2))

    Few cells that differ from a known mask are named one by one, as edges of a graph:

    >>> array = am.causal().dense(8)[0, 0]
    >>> array[5, 2] = False
    >>> am.recognize(array)
    causal() & ~graph([[5, 2]], 8)

    Args:
        value: a Mask, or booleans (q_len, kv_len) or (batch, heads, q_len, kv_len), True = visible. A mask made of
            tables is recognised at the positions that they cover; any other is said in the words of the kinds.
        q_start: the absolute position of the first row. When it is left out and the array is not square, the end
            alignment of cached decoding and the start are both tried, and the shorter answer is given.

    Returns:
        A combination of known kinds that equals the array at each of its positions, or ``table(array)``.
    """
    value = given(value)
    refuse_selection(value)
    if not isinstance(value, Mask):
        return fits(value, q_start)[0].mask
    place = bounded(value)
    if place is None:
        return named(value)
    if not place.k_start:
        return fits(value.dense(place.frame), place.frame.q_start)[0].mask
    by = place.k_start  # queries and keys alike are counted from there, which many masks do not notice
    frame = Frame(place.frame.q_len, place.frame.kv_len, q_start=(place.frame.q_start or 0) - by)
    return _moved(fits(value.shift(q=by, k=by).dense(frame), frame.q_start)[0].mask, by)


def _moved(mask: Mask, by: int) -> Mask:
    """A mask whose positions count from ``by``, in positions that count from 0; masks of distances are the same in both."""
    node = mask.node
    if isinstance(node, Apply) and node.op in ("&", "|", "~"):
        return Mask(Apply(node.op, tuple(_moved(Mask(part), by).node for part in node.args)))
    there = mask.shift(q=-by, k=-by)
    return mask if normal_of(mask) == normal_of(there) else named(there)


def fits(value: Any, q_start: int | None = None) -> list[Fit]:
    """What an array is in each alignment that it may have, the shortest description first.

    >>> import attnmask as am
    >>> fits(am.causal().dense(am.Frame(2, 6, align="start")))
    [Fit(q_start=0, mask=causal()), Fit(q_start=4, mask=~window(3, None))]

    Args:
        value: booleans, as for ``recognize``.
        q_start: the alignment, if it is known.
    """
    array = booleans(value)
    starts = [q_start] if q_start is not None else list(dict.fromkeys([array.shape[3] - array.shape[2], 0]))
    found = [Fit(start, exact(array, start)) for start in starts]
    return sorted(found, key=lambda fit: length(fit.mask))


def in_words(visible: Bools, fit: Fit) -> str:
    """A fit in short notation; of a table, also the known mask that is nearest, and the cells that differ.

    >>> import attnmask as am
    >>> array = am.window(3).dense(13)
    >>> array[0, 0, [1, 2, 4, 8, 11], [9, 12, 9, 1, 0]] ^= True
    >>> in_words(array, Fit(0, am.table(array)))
    'table(<bool 1x1x13x13>): nearest is window(3), 5 cells differ: (1, 9), (2, 12), (4, 9), ...'

    Args:
        visible: the booleans that ``fits`` was asked about.
        fit: one of its answers.
    """
    if not is_table(fit.mask):
        return str(fit.mask)
    array = booleans(visible)
    known = nearest(array, fit.q_start)
    cells = np.concatenate([known.missing, known.extra])
    if len(cells) * FAR > array.size:
        return f"{fit.mask}, which is near no known mask: {np.count_nonzero(array)} of {array.size} cells are visible"
    if array.shape[:2] == (1, 1):
        cells = cells[:, 2:]
    texts = [str(tuple(cell)) for cell in cells[:SHOWN].tolist()] + ["..."] * (len(cells) > SHOWN)
    return f"{fit.mask}: nearest is {known.mask}, {len(cells)} cells differ: {', '.join(texts)}"


def described(value: Any, q_start: int | None = None) -> str:
    """What an array is, in words: its name, or the nearest mask that has one.

    >>> import attnmask as am
    >>> described(am.window(3).dense(13))
    'window(3)'

    Args:
        value: booleans, as for ``recognize``.
        q_start: the alignment, if it is known.
    """
    array = booleans(value)
    return in_words(array, fits(array, q_start)[0])


def booleans(value: Any) -> Bools:
    """The array as (batch, heads, q_len, kv_len), of size 1 where nothing varies along batch or heads."""
    array = as_numpy(value) if hasattr(value, "dtype") else numpy_of(Table.of(value))
    if array.dtype != bool or array.ndim not in (2, 4):
        table(value)  # refuses it
    array = np.ascontiguousarray(array.reshape((1,) * (4 - array.ndim) + array.shape))
    for axis in (0, 1):
        first = array.take([0], axis=axis)
        if array.shape[axis] > 1 and (array == first).all():
            array = first
    return array
