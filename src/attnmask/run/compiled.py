"""How calls of attention pass through ``torch.compile``: what depends on the mask alone is a constant to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import index
from typing import Any, TypeVar

from attnmask.define.frame import Frame
from attnmask.define.language import Algebra, Apply, Const, Index, Lookup, Node, fold
from attnmask.define.mask import Mask
from attnmask.define.tables import SparseTable, Table

F = TypeVar("F", bound=Callable[..., Any])
Data = tuple[Any, ...]


def constant_when_compiled(function: F) -> F:
    """Let torch.compile run a function once while it compiles, instead of looking inside.

    Its arguments must be plain values; other values compile again. torch reads this mark; it is what torch's own
    decorator sets, written here so that torch need not be imported.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def compiling() -> bool:
    """Whether torch.compile is looking."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_compiling())


def opaque(mask: Mask) -> bool:
    """Whether torch.compile is looking, at a mask that it cannot look into: one with tables."""
    return compiling() and fold(mask.node, _HasTables())


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


def frame_of(sizes: Data) -> Frame:
    """The frame that ``sizes_of`` wrote.

    >>> frame_of(sizes_of(Frame(2, 5, align="end"))) == Frame(2, 5, align="end")
    True
    """
    q_len, kv_len, q_start, batch, heads = sizes
    return Frame(q_len, kv_len, q_start=q_start, batch=batch, heads=heads)


class _HasTables(Algebra[bool]):
    def const(self, value: int | bool) -> bool:
        return False

    def index(self, name: str) -> bool:
        return False

    def lookup(self, table: Table, at: tuple[bool, ...]) -> bool:
        return True

    def apply(self, op: str, args: tuple[bool, ...]) -> bool:
        return any(args)


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
