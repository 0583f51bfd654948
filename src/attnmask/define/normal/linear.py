"""Sums of multiples: every ``+ - *`` expression as coefficients of its parts plus a constant, in one order.

``2 * q - k + 3`` is {q: 2, k: -1} and 3. Two expressions that differ by the laws of sums alone have one linear form.

    2 * (q - 1) - q       {q: 2}, -2   minus   {q: 1}, 0
    q - 2                 {q: 1}, -2
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from attnmask.define.language import INDICES, Algebra, Apply, Const, Index, Lookup, Node, fold
from attnmask.define.tables import Table


class Linear(NamedTuple):
    """The sum of each part times its coefficient (never 0), plus a constant."""

    parts: dict[Node, int]
    constant: int


class _Size(Algebra[int]):
    def const(self, value: int | bool) -> int:
        return 1

    def index(self, name: str) -> int:
        return 1

    def lookup(self, table: Table, at: tuple[int, ...]) -> int:
        return 1 + sum(at)

    def apply(self, op: str, args: tuple[int, ...]) -> int:
        return 1 + sum(args)


def size(node: Node) -> int:
    """The number of nodes of an expression; names count nothing.

    >>> import attnmask as am
    >>> size((am.k <= am.q).node), size(am.causal().node)
    (3, 3)
    """
    return fold(node, _Size())


def order(node: Node) -> tuple[Any, ...]:
    """A sort key for expressions without names, the same in every run: numbers, indices, look-ups, operations."""
    match node:
        case Const(value):
            return (0, int(value))
        case Index(name):
            return (1, INDICES.index(name))
        case Lookup(table, at):
            return (2, type(table).__name__, table.kind, table.shape, table.data, tuple(order(part) for part in at))
        case Apply(op, args):
            return (3, op, tuple(order(part) for part in args))
        case _:
            return order(node.body)


def linear(node: Node) -> Linear:
    """The linear form of an integer expression; what is no sum or multiple is a part of its own.

    >>> import attnmask as am
    >>> linear((2 * (am.q - 1) - am.q).node)
    Linear(parts={Index(name='q'): 1}, constant=-2)
    """
    match node:
        case Const(value):
            return Linear({}, int(value))
        case Apply("+", (x, y)):
            return add(linear(x), linear(y))
        case Apply("-", (x, y)):
            return add(linear(x), linear(y), -1)
        case Apply("*", (x, y)):
            return _product(linear(x), linear(y)) or _unknowns(linear(x), linear(y))
        case _:
            return Linear({node: 1}, 0)


def add(x: Linear, y: Linear, times: int = 1) -> Linear:
    """``x + times * y``."""
    parts = dict(x.parts)
    for part, coefficient in y.parts.items():
        parts[part] = parts.get(part, 0) + times * coefficient
    return Linear({part: value for part, value in parts.items() if value}, x.constant + times * y.constant)


def _product(x: Linear, y: Linear) -> Linear | None:
    """The product, if one side is a constant."""
    if y.parts:
        x, y = y, x
    return None if y.parts else add(Linear({}, 0), x, y.constant)


def _unknowns(x: Linear, y: Linear) -> Linear:
    """The product of two sums that are no constants, times the numbers that divide them."""
    sums, times = [], 1
    for total in (x, y):
        factor = math.gcd(*total.parts.values(), total.constant)
        if total.parts[min(total.parts, key=order)] < 0:
            factor = -factor
        times *= factor
        parts = {part: value // factor for part, value in total.parts.items()}
        sums.append(sum_of(Linear(parts, total.constant // factor)))
    return Linear({Apply("*", tuple(sorted(sums, key=order))): times}, 0)


def primitive(x: Linear) -> tuple[Linear, int]:
    """``(y, factor)`` with ``factor * y`` the parts of x, coprime coefficients, and the first in order positive."""
    factor = math.gcd(*x.parts.values())
    if x.parts[min(x.parts, key=order)] < 0:
        factor = -factor
    return Linear({part: value // factor for part, value in x.parts.items()}, 0), factor


def divide(x: Linear, divisor: int) -> tuple[Linear, Linear]:
    """``(y, rest)`` with ``x == divisor * y + rest``: whatever divides exactly, and the whole of the constant.

    >>> import attnmask as am
    >>> whole, rest = divide(linear((4 * am.q + am.k + 9).node), 4)
    >>> am.Term(sum_of(whole)), am.Term(sum_of(rest))
    (q + 2, k + 1)
    """
    whole = {part: value // divisor for part, value in x.parts.items() if value % divisor == 0}
    rest = {part: value for part, value in x.parts.items() if value % divisor}
    return Linear(whole, x.constant // divisor), Linear(rest, x.constant % divisor)


def sum_of(x: Linear) -> Node:
    """The expression of a linear form: positive parts, minus negative ones, plus the constant."""
    positive, negative = sides(x)
    if not positive:
        return chain("-", [Const(x.constant), *negative])
    node = chain("-", [chain("+", positive), *negative])
    if not x.constant:
        return node
    return Apply("+" if x.constant > 0 else "-", (node, Const(abs(x.constant))))


def sides(x: Linear) -> tuple[list[Node], list[Node]]:
    """The parts with positive and with negative coefficients, each times the size of its coefficient."""
    pairs = [(x.parts[part], part) for part in sorted(x.parts, key=order)]
    return [_times(value, part) for value, part in pairs if value > 0], [
        _times(-value, part) for value, part in pairs if value < 0
    ]


def _times(value: int, part: Node) -> Node:
    return part if value == 1 else Apply("*", (Const(value), part))


def chain(op: str, nodes: list[Node]) -> Node:
    """``first op second op third``, read from the left."""
    result = nodes[0]
    for node in nodes[1:]:
        result = Apply(op, (result, node))
    return result
