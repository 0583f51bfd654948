"""At which positions a trace is compared with the function, and what the trace gives there.

Small ones, the edges of tables, their smallest and largest entries, the neighbourhood of every constant, random ones
and a few large ones; only positions at which every look-up is inside its table count.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from attnmask.define.bounds.bounds import Intervals, Pair
from attnmask.define.language import INDICES, Algebra, Const, Index, Lookup, Node, fold, nodes
from attnmask.define.tables import Table

COUNT = 128  # positions of one check, always: JAX compiles anew for every other number
LARGEST, SMALLEST = 2**20, 2**6  # the largest positions, and how far they are lowered
LARGEST_TABLE = 2**14  # of larger ones the extremes are not sought
WORD = 2**31  # larger numbers wrap around in 32 bits

Position = tuple[int, int, int, int]
Column = list[int]


class Sampled(NamedTuple):
    """Positions (b, h, q, k) and the truth values of a trace there."""

    at: list[Position]
    truths: list[bool]


class Values(Algebra[Column]):
    """The values of an expression at many positions, in whole numbers without limits."""

    def __init__(self, at: list[Position]) -> None:
        self.columns = dict(zip(INDICES, map(list, zip(*at, strict=True)), strict=True))
        self.count = len(at)
        self.outside: set[int] = set()

    def const(self, value: int | bool) -> Column:
        return [int(value)] * self.count

    def index(self, name: str) -> Column:
        return self.columns[name]

    def lookup(self, table: Table, at: tuple[Column, ...]) -> Column:
        entries = []
        for number, place in enumerate(zip(*at, strict=True)):
            inside = all(0 <= one < size for one, size in zip(place, table.shape, strict=True))
            entries.append(int(table[place]) if inside else 0)
            if not inside:
                self.outside.add(number)
        return entries

    def apply(self, op: str, args: tuple[Column, ...]) -> Column:
        return list(map(EXACT[op], *args))


EXACT: dict[str, Callable[..., int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "minimum": min,
    "maximum": max,
    "abs": abs,
    "where": lambda condition, x, y: x if condition else y,
    "==": lambda x, y: int(x == y),
    "<": lambda x, y: int(x < y),
    "<=": lambda x, y: int(x <= y),
    "&": lambda *args: int(all(args)),
    "|": lambda *args: int(any(args)),
    "~": lambda x: 1 - x,
}


def sampled(node: Node, lookups: Sequence[Lookup] = ()) -> Sampled:
    """The positions at which a trace is checked, and its truth values.

    Args:
        node: the trace.
        lookups: those that the function makes, also without effect on its result.
    """
    drawn = list(dict.fromkeys(_candidates(node, [part for entry in lookups for part in nodes(entry)])))
    values = Values(drawn)
    truths = fold(node, values)
    for entry in lookups:
        fold(entry, values)  # notes which positions are outside of its table
    inside = [number for number in range(len(drawn)) if number not in values.outside]
    picked = (inside * (COUNT // len(inside) + 1))[:COUNT] if inside else []
    return Sampled([drawn[number] for number in picked], [bool(truths[number]) for number in picked])


def _candidates(node: Node, looked_up: list[Node]) -> Iterator[Position]:
    inside = [*nodes(node), *looked_up]
    sizes = _sizes(inside)
    yield from islice(dict.fromkeys(_at_extremes(inside, sizes)), 32)
    yield from islice(dict.fromkeys(_near_constants(inside, sizes)), 40)
    yield from (_fitting({"b": b, "q": q, "k": k}, sizes) for b in (0, 1) for q in range(4) for k in range(3))
    chance, largest = random.Random(0), reach(node)
    for limit in (8, 64, 1024, largest):
        most = {name: max(1, min(limit, largest, sizes.get(name, limit))) for name in INDICES}
        yield from (_fitting({name: chance.randrange(most[name]) for name in INDICES}, sizes) for _ in range(10))


def _fitting(at: dict[str, int], sizes: dict[str, int]) -> Position:
    b, h, q, k = (max(0, min(at.get(name, 0), sizes.get(name, WORD) - 1)) for name in INDICES)
    return b, h, q, k


def _sizes(inside: list[Node]) -> dict[str, int]:
    """How far each position goes by the tables that it looks up directly."""
    sizes: dict[str, int] = {}
    for node in inside:
        if isinstance(node, Lookup):
            for place, size in zip(node.at, node.table.shape, strict=True):
                if isinstance(place, Index):
                    sizes[place.name] = min(size, sizes.get(place.name, size))
    return sizes


def _at_extremes(inside: list[Node], sizes: dict[str, int]) -> Iterator[Position]:
    """Pairs of places with the smallest and the largest entries, where differences and sums are widest."""
    places = [place for node in dict.fromkeys(inside) if isinstance(node, Lookup) for place in _extremes(node)]
    for one in places:
        for other in places:
            yield _fitting({**other, **one}, sizes)


def _extremes(node: Lookup) -> Iterator[dict[str, int]]:
    names = [place.name for place in node.at if isinstance(place, Index)]
    if len(names) < len(node.at) or not 0 < node.table.size <= LARGEST_TABLE:
        return
    items, row = list(node.table.items), node.table.shape[-1]
    for bound in node.table.bounds:
        start = items.index(bound) // row * row
        entries = items[start : start + row]  # both ends of one row: another query or key of the same sequence
        for place in (entries.index(min(entries)), entries.index(max(entries))):
            yield dict(zip(names, _coordinates(start + place, node.table.shape), strict=True))


def _coordinates(place: int, shape: tuple[int, ...]) -> list[int]:
    found = []
    for size in reversed(shape):
        place, coordinate = divmod(place, size)
        found.append(coordinate)
    return found[::-1]


def _near_constants(inside: list[Node], sizes: dict[str, int]) -> Iterator[Position]:
    """Where a position, or the distance of two, is a constant of the function, one less or one more."""
    constants = {abs(int(node.value)) for node in inside if isinstance(node, Const)} - {0, 1}
    for step in (0, -1, 1):
        for number in sorted(constants):
            place = min(number + step, LARGEST)
            yield from (_fitting(at, sizes) for at in ({"q": place}, {"q": place, "k": 2}, {"k": place, "q": 3}))
            yield from (_fitting(at, sizes) for at in ({"q": place + 2, "k": 2}, {"q": 3, "k": place + 3}))


def reach(node: Node) -> int:
    """How large positions may be before a part of the expression leaves 32 bits, the numbers of JAX."""
    largest = LARGEST
    while largest > SMALLEST and _Widest.of(node, largest) >= WORD:
        largest //= 4
    return largest


def _entries(table: Table, at: tuple[Pair, ...]) -> Pair:
    return (0, 1) if table.kind == "bool" else table.bounds  # not sought in a large mask


class _Widest(Intervals):
    """Interval arithmetic that remembers the largest number in it."""

    largest = 0

    @classmethod
    def of(cls, node: Node, reach: int) -> int:
        """The largest number, while positions are below ``reach``."""
        walk = cls(dict.fromkeys(INDICES, (0, reach)), _entries)
        fold(node, walk)
        return walk.largest

    def apply(self, op: str, args: tuple[Pair, ...]) -> Pair:
        result = super().apply(op, args)
        self.largest = max(self.largest, *map(abs, result))
        return result
