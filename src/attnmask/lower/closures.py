"""An expression as nested Python functions that hold its tables as tensors: what ``torch.compile`` can look into.

``evaluate`` walks the nodes at each call, which ``torch.compile`` cannot follow where there are tables. Here the walk is
done once; what remains are operators on positions and on captured tensors, as in a handwritten ``mask_mod``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from attnmask.define.language import INDICES, Algebra, Node, fold
from attnmask.define.tables import SparseTable, Table
from attnmask.lower.arrays import OPERATORS, numpy_of

Function = Callable[[tuple[Any, Any, Any, Any]], Any]


class _Closures(Algebra[Function]):
    """Each node becomes a function of (b, h, q, k)."""

    def __init__(self, torch: Any, device: Any) -> None:
        self.torch = torch
        self.device = device

    def const(self, value: int | bool) -> Function:
        return lambda at: value

    def index(self, name: str) -> Function:
        place = INDICES.index(name)
        return lambda at: at[place]

    def lookup(self, table: Table, at: tuple[Function, ...]) -> Function:
        if not at:
            value = table[()]
            return lambda position: value
        entries = self.torch.tensor(numpy_of(table), device=self.device)
        if isinstance(table, SparseTable):
            return _search(self.torch, entries, table.shape[1], *at)
        if len(at) == 1:
            (place,) = at
            return lambda position: entries[place(position)]
        return lambda position: entries[tuple([place(position) for place in at])]

    def apply(self, op: str, args: tuple[Function, ...]) -> Function:
        if op in OPERATORS:
            return functools.reduce(functools.partial(_binary, OPERATORS[op]), args)
        if op in ("abs", "~"):
            (argument,) = args
            return (lambda at: abs(argument(at))) if op == "abs" else (lambda at: argument(at) ^ True)
        where = self.torch.where
        if op == "where":
            condition, x, y = args
            return lambda at: where(condition(at), x(at), y(at))
        x, y = args
        first, second = (x, y) if op == "minimum" else (y, x)
        return lambda at: where(x(at) < y(at), first(at), second(at))


def _binary(operator: Callable[[Any, Any], Any], x: Function, y: Function) -> Function:
    return lambda at: operator(x(at), y(at))


def _search(torch: Any, entries: Any, columns: int, row: Function, column: Function) -> Function:
    """Membership among sorted codes."""
    last = len(entries) - 1
    if last < 0:
        return lambda at: (row(at) < 0) & (column(at) < 0)  # no position is negative

    def found(at: tuple[Any, Any, Any, Any]) -> Any:
        code = row(at) * columns + column(at)
        place = torch.searchsorted(entries, code)
        return entries[torch.where(place > last, last, place)] == code

    return found


def closure(node: Node, torch: Any, device: Any) -> Callable[[Any, Any, Any, Any], Any]:
    """A function of tensors (b, h, q, k) that computes a truth value of the language.

    Args:
        node: a truth value of the language.
        torch: the library.
        device: where the tables lie.
    """
    visible = fold(node, _Closures(torch, device))
    return lambda b, h, q, k: visible((b, h, q, k))
