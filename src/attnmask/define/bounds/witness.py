"""Bounds with witnesses: besides what an expression can be on a tile, what it certainly is somewhere on it.

``bounds`` may say PARTIAL of a tile that is really EMPTY or FULL. Here a truth value is (all, any, some_true,
some_false): the first two are its bounds, the others say that a true or a false position certainly exists. A tile
with both is PARTIAL for sure, without a look at its positions.

An integer carries whether its bounds are *tight* (both are attained), *gapless* (so is everything between), and which
variables it depends on: only terms without a common variable take their extremes independently of each other.

    q - k  on  q = 8 .. 11, k = 4 .. 7    (1, 7), tight and gapless: q and k are free of each other
    q - q  on  q = 8 .. 11                (-3, 3), not tight: bounds do not see that it is 0
    q - k <= 3                            some are true (1 is attained), some are false (7 is attained): PARTIAL for sure
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from attnmask.define.bounds.bounds import INTEGERS, Arithmetic, Intervals, Pair, TableBounds, whole_table
from attnmask.define.language import OPERATIONS, Algebra
from attnmask.define.tables import Table


class Number(NamedTuple):
    """An integer expression on a tile; ``tight`` and ``gapless`` are 0 or 1, or arrays of them."""

    pair: Pair
    tight: Any
    gapless: Any
    variables: frozenset[str]


class Truth(NamedTuple):
    """A truth value on a tile; every field is 0 or 1, or an array of them."""

    all: Any
    any: Any
    some_true: Any
    some_false: Any

    @property
    def pair(self) -> Pair:
        """The bounds."""
        return (self.all, self.any)


class Witnesses(Algebra[Number | Truth]):
    """The algebra of numbers and truth values on tiles; the bounds in it are those of ``Intervals``."""

    def __init__(
        self,
        ranges: Mapping[str, Pair],
        table_bounds: TableBounds = whole_table,
        arithmetic: Arithmetic = INTEGERS,
    ) -> None:
        self.intervals = Intervals(ranges, table_bounds, arithmetic)
        self.maximum = arithmetic.maximum

    def const(self, value: int | bool) -> Number | Truth:
        if isinstance(value, bool):
            return _certain((int(value), int(value)))
        return Number((value, value), 1, 1, frozenset())

    def index(self, name: str) -> Number | Truth:
        return Number(self.intervals.index(name), 1, 1, frozenset({name}))

    def lookup(self, table: Table, at: tuple[Number | Truth, ...]) -> Number | Truth:
        numbers = [part for part in at if isinstance(part, Number)]
        pair = self.intervals.lookup(table, tuple(part.pair for part in numbers))
        if table.kind == "int":
            single = (pair[0] == pair[1]) * 1  # in a table every value between the bounds may be missing
            return Number(pair, single, single, frozenset().union(*(part.variables for part in numbers)))
        exact = _independent(numbers)
        for part in numbers:
            exact = exact * part.tight * part.gapless
        return self._truth(pair, exact, exact)

    def apply(self, op: str, args: tuple[Number | Truth, ...]) -> Number | Truth:
        pair = self.intervals.apply(op, tuple(part.pair for part in args))
        if op == "where":
            return Number(pair, 0, 0, frozenset())  # which branch is taken where is not followed
        if OPERATIONS[op][0] == "bool":
            return self._connective(op, pair, [part for part in args if isinstance(part, Truth)])
        numbers = [part for part in args if isinstance(part, Number)]
        alone = _independent(numbers)
        tight, gapless = alone, alone
        for part in numbers:
            tight, gapless = tight * part.tight, gapless * part.gapless
        if OPERATIONS[op][1] == "bool":
            meets = tight * gapless if op == "==" else tight
            return self._truth(pair, meets, tight)
        single = (pair[0] == pair[1]) * 1
        keeps = op in ("+", "-", "minimum", "maximum", "//", "abs")
        tight, gapless = (tight * gapless, tight * gapless) if keeps else (0, 0)
        variables = frozenset().union(*(part.variables for part in numbers))
        return Number(pair, self.maximum(tight, single), self.maximum(gapless, single), variables)

    def _truth(self, pair: Pair, attains_true: Any, attains_false: Any) -> Truth:
        """A comparison or look-up whose bounds are attained, or not known to be."""
        low, high = pair
        return Truth(
            low, high, self.maximum(low, high * attains_true), self.maximum(1 - high, (1 - low) * attains_false)
        )

    def _connective(self, op: str, pair: Pair, parts: list[Truth]) -> Truth:
        if op == "~":
            (part,) = parts
            return Truth(*pair, part.some_false, part.some_true)
        if op == "|":
            turned = [Truth(1 - part.any, 1 - part.all, part.some_false, part.some_true) for part in parts]
            both = self._conjunction((1 - pair[1], 1 - pair[0]), turned)
            return Truth(*pair, both.some_false, both.some_true)
        return self._conjunction(pair, parts)

    def _conjunction(self, pair: Pair, parts: list[Truth]) -> Truth:
        """False where one part is; certainly true somewhere if one part is, and all others are true everywhere."""
        some_false, some_true = 1 - pair[1], pair[0]
        for place, part in enumerate(parts):
            some_false = self.maximum(some_false, part.some_false)
            true = part.some_true
            for other, rest in enumerate(parts):
                true = true if other == place else true * rest.all
            some_true = self.maximum(some_true, true)
        return Truth(*pair, some_true, some_false)


def _certain(pair: Pair) -> Truth:
    """A truth value of which only the bounds are known."""
    return Truth(pair[0], pair[1], pair[0], 1 - pair[1])


def _independent(numbers: list[Number]) -> int:
    """1 if no variable occurs in two of them."""
    names = [name for number in numbers for name in number.variables]
    return int(len(names) == len(set(names)))
