"""Comparisons of a table with a number as a table of truth values, as the last step to a normal form.

attention_mask[b, k] == 1    ~hidden[b, k]    lengths_left[b, k] > 0       what people write
lookup(table of bool, b, k)                                                what all of them become
"""

from __future__ import annotations

from collections.abc import Callable

from attnmask.define.language import Apply, Const, Lookup, Node, Rebuild, fold
from attnmask.define.tables import SparseTable, Table


def tabulated(normal: Node) -> Node:
    """A normal form in which no entry of a table is compared with a number.

    >>> import attnmask as am
    >>> am.Mask(tabulated((am.lookup([[0, 1, 1]], am.b, am.k) <= 0).node))
    lookup([[True, False, False]], b, k)
    """
    return fold(normal, _Tabulated())


class _Tabulated(Rebuild):
    def apply(self, op: str, args: tuple[Node, ...]) -> Node:
        match op, args:
            case "~", (Lookup(table, at),) if _dense(table):
                return Lookup(_where(table, lambda entry: not entry), at)
            case "==" | "<=", (Lookup(table, at), Const(limit)) if _dense(table):
                return Lookup(_where(table, limit.__eq__ if op == "==" else limit.__ge__), at)
            case "<=", (Const(limit), Lookup(table, at)) if _dense(table):
                return Lookup(_where(table, limit.__le__), at)
        return Apply(op, args)


def _dense(table: Table) -> bool:
    return not isinstance(table, SparseTable) and table.role != "length"


def _where(table: Table, holds: Callable[[int], bool]) -> Table:
    return Table("bool", table.shape, bytes(map(holds, table.items)))
