"""Expressions as z3 formulas over unbounded integers, for ``prove.py``, which hands over the imported z3.

A table that is given becomes a tree of choices whose leaves are arithmetic progressions, one for each run of entries,
together with the condition that the look-up stays inside it. A table that may be any becomes an unknown function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from attnmask.define.language import Algebra
from attnmask.define.tables import SparseTable, Table

MOST_RUNS = 4096  # of all tables together: more, and z3 takes minutes
MOST_ENTRIES = 1 << 24  # of one table: looked through one by one
MOST_VALUES = 64  # of a table that multiplies or divides: each is a case of its own


class TooLarge(Exception):
    """A table has no formula of reasonable size; the message says why."""


class Run(NamedTuple):
    """Entries ``first + step * (position - start)`` from ``start`` on."""

    start: int
    first: int
    step: int


def runs(items: Sequence[int], *, steps: bool = True) -> list[Run]:
    """The entries as arithmetic progressions, read from the left; without ``steps`` only as equal entries.

    >>> runs([4, 4, 4, 0, 1, 2, 3])
    [Run(start=0, first=4, step=0), Run(start=3, first=0, step=1)]
    """
    found: list[Run] = []
    start = 0
    while start < len(items):
        step = items[start + 1] - items[start] if steps and start + 1 < len(items) else 0
        end = start + 1
        while end < len(items) and items[end] - items[end - 1] == step:
            end += 1
        found.append(Run(start, items[start], step))
        start = end
    return found


def _dense(table: Table) -> bytes:
    """All entries as bytes."""
    if table.size > MOST_ENTRIES:
        raise TooLarge(f"a table of shape {table.shape} has more than {MOST_ENTRIES} entries")
    if not isinstance(table, SparseTable):
        return table.data
    cells = bytearray(table.size)
    for code in table.codes:
        cells[code] = 1
    return bytes(cells)


class Formulas(Algebra[Any]):
    """The algebra of z3 expressions. ``inside`` collects the conditions under which all look-ups mean something."""

    def __init__(self, z3: Any, *, any_tables: bool) -> None:
        self.z3 = z3
        self.any_tables = any_tables
        self.inside: list[Any] = []
        self.entries: list[tuple[Table, tuple[Any, ...], Any]] = []  # of unknown tables: where, and what
        self.sizes: dict[str, set[int]] = {"b": set(), "h": set()}  # of the axes that these alone look up
        self.functions: dict[Table, Any] = {}
        self.sources: list[tuple[Any, Table]] = []  # look-ups in given tables
        self.runs_left = MOST_RUNS

    def const(self, value: int | bool) -> Any:
        return self.z3.BoolVal(value) if isinstance(value, bool) else self.z3.IntVal(value)

    def index(self, name: str) -> Any:
        return self.z3.Int(name)

    def lookup(self, table: Table, at: tuple[Any, ...]) -> Any:
        return self._unknown(table, at) if self.any_tables else self._given(table, at)

    def apply(self, op: str, args: tuple[Any, ...]) -> Any:
        if op in ("*", "//", "%"):
            return self._by_cases(op, *args)
        return RULES[op](self.z3, *args)

    def _unknown(self, table: Table, at: tuple[Any, ...]) -> Any:
        z3 = self.z3
        if table not in self.functions:
            sort = z3.BoolSort() if table.kind == "bool" else z3.IntSort()
            name = f"table{len(self.functions)}"
            self.functions[table] = z3.Function(name, *[z3.IntSort()] * len(at), sort) if at else z3.Const(name, sort)
        formula = self.functions[table](*at) if at else self.functions[table]
        self.entries.append((table, at, formula))
        if table.role == "length":
            self.inside.append(formula >= 0)
        return formula

    def _given(self, table: Table, at: tuple[Any, ...]) -> Any:
        for size, position in zip(table.shape, at, strict=True):
            self.inside += [position >= 0, position < size]
            for name, sizes in self.sizes.items():
                if position.eq(self.index(name)):
                    sizes.add(size)
        formula = self._tree(table, _dense(table), table.shape, at)
        self.sources.append((formula, table))
        return formula

    def _tree(self, table: Table, data: bytes, shape: tuple[int, ...], at: tuple[Any, ...]) -> Any:
        """The entry at a position of the part of a table that ``data`` holds."""
        if not data or not shape:
            return self._entry(table, table[()] if data else 0)
        if len(shape) == 1:
            return self._choice(at[0], self._leaves(table, data, at[0]))
        step = len(data) // shape[0]
        rows = [data[start : start + step] for start in range(0, len(data), step)]
        starts = [place for place, row in enumerate(rows) if not place or row != rows[place - 1]]
        return self._choice(at[0], [(start, self._tree(table, rows[start], shape[1:], at[1:])) for start in starts])

    def _leaves(self, table: Table, data: bytes, at: Any) -> list[tuple[int, Any]]:
        items = memoryview(data) if table.kind == "bool" else memoryview(data).cast("q")
        found = runs(items, steps=table.kind == "int")
        self.runs_left -= len(found)
        if self.runs_left < 0:
            raise TooLarge(f"the tables consist of more than {MOST_RUNS} runs of entries")
        return [
            (run.start, self._entry(table, run.first) + run.step * (at - run.start))
            if run.step
            else (run.start, self._entry(table, run.first))
            for run in found
        ]

    def _entry(self, table: Table, value: int) -> Any:
        return self.const(bool(value) if table.kind == "bool" else value)

    def _choice(self, at: Any, leaves: list[tuple[int, Any]]) -> Any:
        if len(leaves) == 1:
            return leaves[0][1]
        middle = len(leaves) // 2
        before, after = self._choice(at, leaves[:middle]), self._choice(at, leaves[middle:])
        return self.z3.If(at < leaves[middle][0], before, after)

    def _by_cases(self, op: str, x: Any, y: Any) -> Any:
        """``x op y``, one case for each value of a given table: z3 decides products of unknowns by luck only."""
        if self.any_tables and op != "*":
            self.inside.append(y > 0)
        if op == "*" and self._values(y) is None:
            x, y = y, x
        values = self._values(y)
        if not values:
            return NUMERIC[op](x, y)
        formula = NUMERIC[op](x, values[0])
        for value in values[1:]:
            formula = self.z3.If(y == value, NUMERIC[op](x, value), formula)
        return formula

    def _values(self, formula: Any) -> list[int] | None:
        """All values of a look-up, if they are few."""
        for source, table in self.sources:
            if source.eq(formula):
                values = sorted(set(table.items))
                return values if len(values) <= MOST_VALUES else None
        return None


NUMERIC: dict[str, Callable[[Any, Any], Any]] = {
    "*": lambda x, y: x * y,
    "//": lambda x, y: x / y,  # z3 divides as Python does where the divisor is positive
    "%": lambda x, y: x % y,
}
RULES: dict[str, Callable[..., Any]] = {
    "+": lambda z3, x, y: x + y,
    "-": lambda z3, x, y: x - y,
    "minimum": lambda z3, x, y: z3.If(x < y, x, y),
    "maximum": lambda z3, x, y: z3.If(x < y, y, x),
    "abs": lambda z3, x: z3.If(x < 0, -x, x),
    "where": lambda z3, condition, x, y: z3.If(condition, x, y),
    "==": lambda z3, x, y: x == y,
    "<": lambda z3, x, y: x < y,
    "<=": lambda z3, x, y: x <= y,
    "&": lambda z3, *args: z3.And(*args),
    "|": lambda z3, *args: z3.Or(*args),
    "~": lambda z3, x: z3.Not(x),
}
