"""How calls of attention become part of a program of torch: what depends on the mask alone is a constant in it."""

from __future__ import annotations

import functools
import json
from operator import index
from typing import Any

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.language import Algebra, Apply, Const, Index, Lookup, Node, fold
from attnmask.define.mask import Mask
from attnmask.define.tables import SparseTable, Table
from attnmask.lower.arrays import compiling as compiling
from attnmask.lower.arrays import constant_when_compiled as constant_when_compiled

Data = tuple[Any, ...]


def fitted(mask: Mask, frame: Frame) -> Fitted:
    """``fit``, also while torch.compile is looking."""
    return Fitted(*_fitted(data_of(mask), sizes_of(frame))) if compiling() else fit(mask, frame)


@constant_when_compiled
def _fitted(mask: Data, sizes: Data) -> Data:
    return tuple(fit(mask_of(mask), frame_of(sizes)))


def data_of(mask: Mask) -> Data:
    """The mask as nested tuples of plain values, which torch.compile can hand to a constant function."""
    return fold(mask.node, _ToData())


def mask_of(data: Data) -> Mask:
    """The mask that ``data_of`` wrote, without its names.

    >>> import attnmask as am
    >>> mask_of(data_of(am.causal() & am.padding([2, 1])))
    (k <= q) & (k < lookup([2, 1], b))
    """
    return Mask(_node(data))


def sizes_of(frame: Frame) -> Data:
    """A frame as plain values, likewise."""
    return (frame.q_len, frame.kv_len, frame.q_start, frame.batch, frame.heads)


def text_of(mask: Data, sizes: Data) -> str:
    """A mask in a frame as text, for an operation of a program that may be saved, and run by another process."""
    return json.dumps(sizes) + mask_of(mask).to_json()


@functools.lru_cache(maxsize=64)
def of_text(text: str) -> tuple[Mask, Frame]:
    """The mask and the frame that ``text_of`` wrote.

    >>> import attnmask as am
    >>> of_text(text_of(data_of(am.causal()), sizes_of(Frame(2, 5, align="end"))))
    (k <= q, Frame(2, 5, q_start=3))
    """
    sizes, end = json.JSONDecoder().raw_decode(text)
    return Mask.from_json(text[end:]), frame_of(sizes)


def frame_of(sizes: Data) -> Frame:
    """The frame that ``sizes_of`` wrote.

    >>> frame_of(sizes_of(Frame(2, 5, align="end"))) == Frame(2, 5, align="end")
    True
    """
    q_len, kv_len, q_start, batch, heads = sizes
    return Frame(q_len, kv_len, q_start=q_start, batch=batch, heads=heads)


class _ToData(Algebra[Data]):
    # index() because torch.compile may hold numbers of the mask open
    def const(self, value: int | bool) -> Data:
        return ("const", value if isinstance(value, bool) else index(value))

    def index(self, name: str) -> Data:
        return ("index", name)

    def lookup(self, table: Table, at: tuple[Data, ...]) -> Data:
        shape = tuple(index(size) for size in table.shape)
        sparse = isinstance(table, SparseTable)
        return ("lookup", (sparse, table.kind, shape, table.data, table.role), *at)

    def apply(self, op: str, args: tuple[Data, ...]) -> Data:
        return (op, *args)


def _node(data: Data) -> Node:
    match data:
        case ("const", value):
            return Const(value)
        case ("index", name):
            return Index(name)
        case ("lookup", (sparse, *table), *at):
            return Lookup((SparseTable if sparse else Table)(*table), tuple(_node(part) for part in at))
        case (op, *args):
            return Apply(op, tuple(_node(part) for part in args))
    raise AssertionError(data)
