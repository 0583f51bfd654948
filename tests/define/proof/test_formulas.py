"""Formulas: z3 sees every entry of a table, and divides as Python does."""

import numpy as np
import pytest
import z3
from hypothesis import given
from hypothesis import strategies as st

from attnmask.define.proof import formulas
from attnmask.define.tables import SparseTable, Table


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_property_runs_hold_all_entries(items):
    for steps in (True, False):
        found = formulas.runs(items, steps=steps)
        ends = [run.start for run in found[1:]] + [len(items)]
        read = [
            run.first + run.step * (place - run.start)
            for run, end in zip(found, ends, strict=True)
            for place in range(run.start, end)
        ]
        assert read == items


TABLES = [
    Table.of([4, 4, 1, 2, 3, 9]),
    Table.of([[1, 1, 1], [1, 1, 1], [1, 2, 0]]),
    Table.of([[[True], [False]], [[False], [False]]]),
    Table.of(np.arange(24).reshape(2, 3, 4) % 5 > 1),
    SparseTable.of_codes([1, 3, 4, 11], (3, 4)),
    Table.of(7),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.shape))
def test_formulas_of_tables_hold_every_entry(table):
    maker = formulas.Formulas(z3, any_tables=False)
    for at in np.ndindex(*table.shape):
        entry = z3.simplify(maker.lookup(table, tuple(z3.IntVal(int(place)) for place in at)))
        assert str(entry) == str(bool(table[at]) if table.kind == "bool" else table[at])


def test_z3_divides_as_python_does():
    maker = formulas.Formulas(z3, any_tables=False)
    for x in range(-12, 13):
        for y in range(1, 6):
            pair = (z3.IntVal(x), z3.IntVal(y))
            assert z3.simplify(maker.apply("//", pair)).as_long() == x // y
            assert z3.simplify(maker.apply("%", pair)).as_long() == x % y
    # ... and for every dividend: floor division is the number with this one property
    for y in range(1, 20):
        x = z3.Int("x")
        whole, rest = maker.apply("//", (x, z3.IntVal(y))), maker.apply("%", (x, z3.IntVal(y)))
        solver = z3.Solver()
        solver.add(z3.Not(z3.And(whole * y + rest == x, rest >= 0, rest < y)))
        assert solver.check() == z3.unsat
