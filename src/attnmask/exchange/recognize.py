"""``recognize``: the shortest known expression that is exactly a given boolean array.

For each kind of mask there is a *hull*: its smallest member that contains everything visible. If the array is a
conjunction of known kinds at all, it is the conjunction of these hulls; the shortest sub-conjunction that still gives
the array is the answer. What no conjunction gives stays a table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.language import Apply, Index, Lookup, Named, Node
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.chunked import chunked
from attnmask.define.masks.documents import documents
from attnmask.define.masks.everything import everything
from attnmask.define.masks.nothing import nothing
from attnmask.define.masks.padding import padding
from attnmask.define.masks.prefix import prefix
from attnmask.define.masks.table import table
from attnmask.define.masks.window import window
from attnmask.define.selection import refuse_selection

Bools = NDArray[np.bool_]


class View(NamedTuple):
    """A boolean array (batch, heads, q_len, kv_len) and the position of its first query."""

    visible: Bools
    q_start: int

    @property
    def frame(self) -> Frame:
        """The frame that the array is seen in."""
        return Frame(*self.visible.shape[2:], q_start=self.q_start)

    @property
    def ahead(self) -> NDArray[np.int64]:
        """k - q at every position: (q_len, kv_len)."""
        q_len, kv_len = self.visible.shape[2:]
        return np.arange(kv_len)[None, :] - (self.q_start + np.arange(q_len))[:, None]


def recognize(value: Any, *, q_start: int | None = None) -> Mask:
    """The shortest known expression that is exactly this mask.

    >>> import attnmask as am
    >>> am.recognize([[True, False, False], [True, True, False], [False, True, True]])
    window(1)
    >>> am.recognize(am.table((am.causal() & am.padding([3, 2])).dense(4)))
    causal() & padding([3, 2])

    Args:
        value: a Mask made of tables, or booleans (q_len, kv_len) or (batch, heads, q_len, kv_len), True = visible.
        q_start: the absolute position of the first row. When it is left out and the array is not square, the end
            alignment of cached decoding and the start are both tried, and the shorter answer is given.

    Returns:
        A conjunction of known kinds that equals the array at each of its positions, or ``table(array)``.
    """
    refuse_selection(value)
    if isinstance(value, Mask):
        size = _table_size(value.node)
        if size is None:
            return value  # no table says how large it is: it is symbolic already
        value, q_start = value.dense(Frame(*size, q_start=0)), 0
    array = table(value).dense(Frame(*np.shape(value)[-2:], align="start"))
    starts = [q_start] if q_start is not None else list(dict.fromkeys([array.shape[3] - array.shape[2], 0]))
    return min((_shortest(View(_collapsed(array), start)) for start in starts), key=_length)


def _length(mask: Mask) -> tuple[bool, int]:
    return ("table" in repr(mask), len(repr(mask)))


def _table_size(node: Node) -> tuple[int, int] | None:
    """(q_len, kv_len) of the tables that are looked up by both q and k, if there are any."""
    parts: tuple[Node, ...] = ()
    match node:
        case Lookup(table=found, at=at) if Index("q") in at and Index("k") in at:
            return found.shape[at.index(Index("q"))], found.shape[at.index(Index("k"))]
        case Apply(args=args):
            parts = args
        case Named(body=body):
            parts = (body,)
    return next((size for part in parts if (size := _table_size(part))), None)


def _collapsed(array: Bools) -> Bools:
    """Axes of batch and heads along which nothing varies, reduced to size 1."""
    for axis in (0, 1):
        first = array.take([0], axis=axis)
        if (array == first).all():
            array = first
    return array


def _shortest(view: View) -> Mask:
    if view.visible.all():
        return everything()
    if not view.visible.any():
        return nothing()
    found = _conjunction_of_hulls(view, most=len(HULLS))
    if found is not None:
        return found
    opposite = _conjunction_of_hulls(View(np.logical_not(view.visible), view.q_start), most=1)
    return ~opposite if opposite is not None else _as_table(view)


def _conjunction_of_hulls(view: View, most: int) -> Mask | None:
    visible = view.visible
    hulls = [(mask, mask.dense(view.frame)) for hull in HULLS for mask in hull(view)]
    for count in range(1, most + 1):
        found = [
            [mask for mask, _ in chosen]
            for chosen in itertools.combinations(hulls, count)
            if np.array_equal(_all([dense for _, dense in chosen], visible.shape), visible)
        ]
        if found:
            return min((reduce(and_, masks) for masks in found), key=_length)
    return None


def _all(arrays: list[Bools], shape: tuple[int, ...]) -> Bools:
    result = np.ones(shape, bool)
    for array in arrays:
        result = result & array
    return result


def _as_table(view: View) -> Mask:
    array = view.visible if view.visible.shape[:2] != (1, 1) else view.visible[0, 0]
    return table(array).shift(q=-view.q_start)


def _causal(view: View) -> Iterator[Mask]:
    """causal(), or prefix(n) | causal() with the smallest prefix that covers what is visible ahead."""
    future = view.visible & (view.ahead > 0)
    if not future.any():
        yield causal()
        return
    ends = np.where(future.any((1, 2)), np.arange(1, future.shape[3] + 1), 0).max(-1)  # (batch,)
    yield prefix(_lengths(ends)) | causal()


def _window(view: View) -> Iterator[Mask]:
    """The band between the farthest visible key behind and the farthest ahead; a side that cuts nothing is open."""
    ahead = np.broadcast_to(view.ahead, view.visible.shape)[view.visible]
    behind, front = int(-ahead.min()), int(ahead.max())
    left = behind if behind < -view.ahead.min() else None
    right = front if front < view.ahead.max() else None
    backwards = [(left, 0)] if front <= 0 else []
    for sides in dict.fromkeys([*backwards, (left, None), (left, right), (None, right)]):
        if sides != (None, None) and all(side is None or side >= 0 for side in sides):
            yield window(*sides)


def _padding(view: View) -> Iterator[Mask]:
    """Keys that some query sees, as right lengths, left lengths, or an array."""
    valid: Bools = np.asarray(view.visible.any((1, 2)))  # (batch, kv_len)
    kv_len = valid.shape[1]
    lengths = valid.sum(1)
    if np.array_equal(valid, np.arange(kv_len) < lengths[:, None]):
        yield padding(_lengths(lengths))
    elif np.array_equal(valid, np.arange(kv_len) >= (kv_len - lengths)[:, None]):
        yield padding(_lengths(lengths), side="left", kv_len=kv_len)
    else:
        yield padding(valid=valid if len(valid) > 1 else valid[0])


def _lengths(lengths: NDArray[Any]) -> Any:
    return lengths.tolist() if len(lengths) > 1 else int(lengths[0])


def _documents(view: View) -> Iterator[Mask]:
    """Positions that see nothing of each other: equal runs as chunks, other runs as lengths, the rest as ids."""
    batch, _, q_len, kv_len = view.visible.shape
    if view.q_start < 0 or view.q_start + q_len > kv_len:
        return  # queries outside the keys belong to no document
    rows = [view.visible[row].any(0) for row in range(batch)]
    runs = np.stack([_runs(row, view.q_start) for row in rows])  # (batch, kv_len)
    if batch == 1 and runs.max() > 0:
        yield from _chunks(runs[0])
        yield documents(lengths=np.bincount(runs[0]).tolist())
    ids = np.stack([_components(row, view.q_start) for row in rows])
    if ids.max() > 0:
        yield documents(ids if batch > 1 else ids[0])


def _runs(visible: Bools, q_start: int) -> NDArray[np.int64]:
    """The number of the run of each key position; runs end where no visible pair crosses."""
    rows, columns = np.nonzero(visible)
    low, high = np.minimum(rows + q_start, columns), np.maximum(rows + q_start, columns)
    crossings = np.zeros(visible.shape[1] + 1, np.int64)  # how many pairs have low < p <= high, by differences
    np.add.at(crossings, low + 1, 1)
    np.add.at(crossings, np.minimum(high + 1, visible.shape[1]), -1)
    return np.concatenate([[0], np.cumsum(np.cumsum(crossings)[1:-1] == 0)])


def _chunks(ids: NDArray[np.int64]) -> Iterator[Mask]:
    starts = np.flatnonzero(np.diff(ids)) + 1
    sizes = (int(size) for size in starts if np.isin(np.arange(size, len(ids), size), starts).all())
    yield from itertools.islice((chunked(size) for size in sizes), 1)


def _components(visible: Bools, q_start: int) -> NDArray[np.int64]:
    """The smallest position that each position is connected to: documents that need not be contiguous."""
    size = visible.shape[1]
    linked = np.eye(size, dtype=bool)
    linked[q_start : q_start + visible.shape[0]] |= visible
    linked |= linked.T
    labels = np.arange(size)
    while True:
        spread = np.where(linked, labels[None, :], size).min(1)
        if np.array_equal(spread, labels):
            return np.unique(labels, return_inverse=True)[1]
        labels = spread


HULLS: tuple[Callable[[View], Iterator[Mask]], ...] = (_causal, _window, _padding, _documents)
