"""Three-valued interval arithmetic: what an expression can be over a whole tile of positions.

Every value is a pair (smallest, largest); truth values use 0 and 1, so (0, 0) is EMPTY, (1, 1) FULL and
(0, 1) PARTIAL. Sound by construction: the true values always lie inside. The pairs may be Python integers or
arrays of them (one entry per tile): ``Intervals`` is given the few array functions it needs.

    (k <= q) & (q - k <= 3)  on the tile  q = 8 .. 11,  k = 4 .. 7
        k      <=  q                    q - k             <=  3
     (4, 7)     (8, 11)         (8 - 7, 11 - 4) = (1, 7)
          (1, 1)                          (0, 1)
                     &  ->  (0, 1)   PARTIAL: some of the tile may be visible
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attnmask.define.language import Algebra, Node, fold
from attnmask.define.tables import Table

Pair = tuple[Any, Any]


class Arithmetic(Protocol):
    """The functions that intervals need besides operators."""

    def minimum(self, x: Any, y: Any, /) -> Any:
        """The smaller one."""

    def maximum(self, x: Any, y: Any, /) -> Any:
        """The larger one."""


class _Integers:
    minimum = staticmethod(min)
    maximum = staticmethod(max)


INTEGERS = _Integers()


TableBounds = Callable[[Table, tuple[Pair, ...]], Pair]


def whole_table(table: Table, at: tuple[Pair, ...]) -> Pair:
    """Bounds of a look-up that ignore where it looks."""
    return table.bounds


class Intervals(Algebra[Pair]):
    """The algebra of (smallest, largest) pairs."""

    def __init__(
        self,
        ranges: Mapping[str, Pair],
        table_bounds: TableBounds = whole_table,
        arithmetic: Arithmetic = INTEGERS,
    ) -> None:
        self.ranges = ranges
        self.table_bounds = table_bounds
        self.minimum = arithmetic.minimum
        self.maximum = arithmetic.maximum

    def const(self, value: int | bool) -> Pair:
        return (int(value), int(value))

    def index(self, name: str) -> Pair:
        return self.ranges[name]

    def lookup(self, table: Table, at: tuple[Pair, ...]) -> Pair:
        return self.table_bounds(table, at)

    def apply(self, op: str, args: tuple[Pair, ...]) -> Pair:
        result: Pair = RULES[op](self, *args)
        return result


def _multiply(self: Intervals, x: Pair, y: Pair) -> Pair:
    corners = [left * right for left in x for right in y]
    low = high = corners[0]
    for corner in corners[1:]:
        low, high = self.minimum(low, corner), self.maximum(high, corner)
    return low, high


def _divide(self: Intervals, x: Pair, y: Pair) -> Pair:  # y is positive
    return self.minimum(x[0] // y[0], x[0] // y[1]), self.maximum(x[1] // y[0], x[1] // y[1])


def _remainder(self: Intervals, x: Pair, y: Pair) -> Pair:  # y is positive
    # Exact when the divisor is one number and the whole interval has one quotient, else 0 .. divisor - 1.
    one = (y[0] == y[1]) * (x[0] // y[1] == x[1] // y[1])
    return one * (x[0] % y[1]), one * (x[1] % y[1]) + (1 - one) * (y[1] - 1)


def _absolute(self: Intervals, x: Pair) -> Pair:
    return self.maximum(self.maximum(x[0], -x[1]), 0), self.maximum(-x[0], x[1])


def _where(self: Intervals, condition: Pair, x: Pair, y: Pair) -> Pair:
    yes, no = condition[0], 1 - condition[1]  # certainly true, certainly false
    low, high = self.minimum(x[0], y[0]), self.maximum(x[1], y[1])
    maybe = 1 - yes - no
    return yes * x[0] + no * y[0] + maybe * low, yes * x[1] + no * y[1] + maybe * high


def _equal(self: Intervals, x: Pair, y: Pair) -> Pair:
    apart = (x[1] < y[0]) | (y[1] < x[0])
    one = (x[0] == x[1]) & (y[0] == y[1]) & (x[0] == y[0])
    return one * 1, 1 - apart * 1


def _all(self: Intervals, *args: Pair) -> Pair:
    low, high = args[0]
    for pair in args[1:]:
        low, high = low * pair[0], high * pair[1]
    return low, high


def _any(self: Intervals, *args: Pair) -> Pair:
    none = _all(self, *((1 - high, 1 - low) for low, high in args))
    return 1 - none[1], 1 - none[0]


RULES: dict[str, Callable[..., Pair]] = {
    "+": lambda self, x, y: (x[0] + y[0], x[1] + y[1]),
    "-": lambda self, x, y: (x[0] - y[1], x[1] - y[0]),
    "*": _multiply,
    "//": _divide,
    "%": _remainder,
    "minimum": lambda self, x, y: (self.minimum(x[0], y[0]), self.minimum(x[1], y[1])),
    "maximum": lambda self, x, y: (self.maximum(x[0], y[0]), self.maximum(x[1], y[1])),
    "abs": _absolute,
    "where": _where,
    "==": _equal,
    "<": lambda self, x, y: ((x[1] < y[0]) * 1, (x[0] < y[1]) * 1),
    "<=": lambda self, x, y: ((x[1] <= y[0]) * 1, (x[0] <= y[1]) * 1),
    "&": _all,
    "|": _any,
    "~": lambda self, x: (1 - x[1], 1 - x[0]),
}


def bounds(node: Node, ranges: Mapping[str, Pair]) -> Pair:
    """The bounds of an expression while each variable stays in its range.

    >>> import attnmask as am
    >>> bounds(am.causal().node, {"q": (8, 15), "k": (0, 7)})  # below the diagonal: FULL
    (1, 1)
    >>> bounds(am.causal().node, {"q": (0, 7), "k": (8, 15)})  # above it: EMPTY
    (0, 0)
    >>> bounds((am.q // 4).node, {"q": (3, 9)})
    (0, 2)
    """
    return fold(node, Intervals(ranges))
