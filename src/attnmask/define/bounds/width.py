"""Whether the numbers of a mask fit into so many bits, wherever its positions are.

k * 2**40 * 2**40    k from 0 to 9    the product is up to 9 * 2**80: no engine computes it
q * q >= k * k       q up to 49 999   2 499 950 001 needs 33 bits: JAX has 32
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from attnmask.define.bounds.bounds import INTEGERS, Intervals, Pair
from attnmask.define.language import Apply, Lookup, Named, Node, fold, sort_of
from attnmask.define.tables import SparseTable, Table

UNSEEN = 1 << 10  # entries of a table that are not looked at unless it matters


class TooWide(NamedTuple):
    """A part of a mask and what it can be."""

    node: Node
    low: int
    high: int


def too_wide(node: Node, ranges: Mapping[str, Pair], bits: int, *, tables: bool = True) -> TooWide | None:
    """The first number that may need more than ``bits`` bits beside its sign; None if all fit.

    >>> import attnmask as am
    >>> found = too_wide((am.q * am.q >= am.k * am.k).node, {"q": (0, 49_999), "k": (0, 9)}, 31)
    >>> am.Term(found.node), found.high
    (q * q, 2499900001)

    Args:
        node: any expression.
        ranges: where its positions are.
        bits: 31 for the integers of JAX, 62 for those of NumPy and torch with room for one sum.
        tables: whether entries of tables count, and what is made of them; else only what is made of positions.
    """
    limit = 1 << bits
    seen = _Reach(ranges, _unseen, INTEGERS)  # named here, so that torch.compile finds where it comes from
    fold(node, seen)
    if seen.reach <= limit:
        return None
    return next(_wide(node, Intervals(ranges), limit, tables), None)  # now it matters what large tables hold


class _Reach(Intervals):
    """Intervals that note the number farthest from 0 on their way."""

    reach = 0

    def _noted(self, pair: Pair) -> Pair:
        self.reach = max(self.reach, -pair[0], pair[1])
        return pair

    def const(self, value: int | bool) -> Pair:
        return self._noted(super().const(value))

    def index(self, name: str) -> Pair:
        return self._noted(super().index(name))

    def lookup(self, table: Table, at: tuple[Pair, ...]) -> Pair:
        return self._noted(super().lookup(table, at))

    def apply(self, op: str, args: tuple[Pair, ...]) -> Pair:
        return self._noted(super().apply(op, args))


def _unseen(table: Table, at: tuple[Pair, ...]) -> Pair:
    """The bounds of a table, of a large one only what any table may hold: half of what fits."""
    if table.kind == "bool" or isinstance(table, SparseTable):
        return (0, 1)
    return table.bounds if table.size <= UNSEEN else (-(1 << 62), 1 << 62)


def _wide(node: Node, intervals: Intervals, limit: int, tables: bool) -> Iterator[TooWide]:
    for part in _children(node):
        yield from _wide(part, intervals, limit, tables)
    if sort_of(node) == "int" and not isinstance(node, Named) and (tables or not _looks_up(node)):
        low, high = fold(node, intervals)
        if not -limit <= low <= high <= limit:
            yield TooWide(node, low, high)


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Apply(args=parts) | Lookup(at=parts):
            return parts
        case Named(body=body):
            return (body,)
    return ()


def _looks_up(node: Node) -> bool:
    return isinstance(node, Lookup) or any(map(_looks_up, _children(node)))
