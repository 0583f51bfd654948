"""Proofs about masks for every length at once, or the position where they fail, found by z3.

A proof speaks of all positions that a frame can hold: batch, head and key of at least 0, and any query (a frame may
put its first queries before the first key). With given tables it speaks of the positions at which every look-up stays
inside its table; with any tables, of all that the tables could hold.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias

from attnmask.define.bounds.bounds import Intervals, Pair
from attnmask.define.language import INDICES, fold
from attnmask.define.mask import Mask
from attnmask.define.proof.formulas import Formulas, TooLarge
from attnmask.define.selection import refuse_selection
from attnmask.define.tables import Table
from attnmask.define.text.notation import table_text
from attnmask.define.text.parse import given
from attnmask.errors import MaskError, require

Tables = Literal["given", "any"]
Entries: TypeAlias = dict[tuple[Table, tuple[int, ...]], int]


@dataclass(frozen=True, repr=False)
class Proof:
    """It holds, at every position. True as a condition.

    >>> import attnmask as am
    >>> am.implies(am.window(2), am.causal())
    Proof: window(2) implies causal() at every position
    """

    claim: str
    scope: str

    def __bool__(self) -> Literal[True]:
        return True

    def __repr__(self) -> str:
        return f"Proof: {self.claim} {self.scope}"


@dataclass(frozen=True, repr=False)
class CounterExample:
    """It does not hold at this position, where the two masks are ``left`` and ``right``. False as a condition.

    >>> import attnmask as am
    >>> found = am.equivalent(am.window(2), am.causal())
    >>> found
    CounterExample: query 3, key 0: window(2) is False, causal() is True
    >>> found.q, found.k, found.left, found.right
    (3, 0, False, True)
    """

    b: int
    h: int
    q: int
    k: int
    left: bool
    right: bool
    masks: tuple[Mask, Mask]
    entries: Entries = field(default_factory=dict, hash=False)  # what unknown tables would have to hold

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        used = self.masks[0].depends_on | self.masks[1].depends_on
        places = [f"batch {self.b}"] * ("b" in used) + [f"head {self.h}"] * ("h" in used)
        place = ", ".join([*places, f"query {self.q}", f"key {self.k}"])
        sides = f"{self.masks[0]} is {self.left}, {self.masks[1]} is {self.right}"
        held = [
            f"lookup({table_text(table, short=True)}{''.join(f', {at}' for at in places)}) = {entry}"
            for (table, places), entry in self.entries.items()
        ]
        return f"CounterExample: {place}: {sides}{' with ' * bool(held)}{', '.join(held)}"


@dataclass(frozen=True, repr=False)
class Undecided:
    """Neither proved nor refuted, for this reason. An error as a condition.

    >>> import attnmask as am
    >>> squares = am.documents([position**2 % 9973 for position in range(9000)])
    >>> am.implies(squares, am.causal())
    Undecided: the tables consist of more than 4096 runs of entries
    """

    reason: str

    def __bool__(self) -> NoReturn:
        raise MaskError(
            "an undecided claim is neither true nor false",
            self.reason,
            "Give it more time (seconds=60), or compare the masks in one frame: (a.dense(f) == b.dense(f)).all()",
        )

    def __repr__(self) -> str:
        return f"Undecided: {self.reason}"


Verdict: TypeAlias = Proof | CounterExample | Undecided


def implies(left: Mask | str, right: Mask | str, *, tables: Tables = "given", seconds: float = 10) -> Verdict:
    """Whether every position visible in ``left`` is visible in ``right``: a proof, or the smallest counter-example.

    >>> import attnmask as am
    >>> am.implies(am.causal() & am.padding([3, 2]), am.causal())
    Proof: causal() & padding([3, 2]) implies causal() at every position inside their tables
    >>> am.implies(am.window(1, 1), am.causal())
    CounterExample: query 0, key 1: window(1, 1) is True, causal() is False
    >>> assert am.implies(am.window(2), am.causal())  # a proof is true, a counter-example false

    Args:
        left: the narrower mask, for example what a model does.
        right: the wider one, for example what it may do.
        tables: ``"given"`` compares at the positions where every look-up stays inside its table, with the
            contents that it has. ``"any"`` asks for every content and length of the tables: tables of one content
            are the same unknown, others differ, and lengths are at least 0.
        seconds: time for z3. Where it does not suffice the verdict is ``Undecided``, which is no truth value.

    Raises:
        MaskError: what was given is no mask, or no position is inside all tables.
        MissingExtra: z3 is not installed (``pip install 'attnmask[prove]'``).
    """
    return _decide("implies", (given(left), given(right)), tables, seconds)


def equivalent(left: Mask | str, right: Mask | str, *, tables: Tables = "given", seconds: float = 10) -> Verdict:
    """Whether two masks are visible at the same positions: a proof, or the smallest counter-example.

    >>> import attnmask as am
    >>> am.equivalent(am.window(2), am.causal() & (am.q - am.k <= 2))
    Proof: window(2) is equivalent to causal() & (q - k <= 2) at every position
    >>> am.equivalent(am.window(2), am.causal() & (am.q - am.k < 2))
    CounterExample: query 2, key 0: window(2) is True, causal() & (q - k < 2) is False
    >>> ids = [0, 0, 1]
    >>> am.equivalent(am.documents(ids), am.same(am.lookup(ids, am.k), am.lookup(ids, am.q)), tables="any")
    Proof: documents([0, 0, 1]) is equivalent to same(lookup([0, 0, 1], k), lookup([0, 0, 1], q)) at every position
    whatever the tables hold

    Args:
        left: a mask.
        right: another.
        tables: ``"given"`` or ``"any"``, as for ``implies``.
        seconds: time for z3, as for ``implies``.

    Raises:
        MaskError: what was given is no mask, or no position is inside all tables.
        MissingExtra: z3 is not installed (``pip install 'attnmask[prove]'``).
    """
    return _decide("is equivalent to", (given(left), given(right)), tables, seconds)


def _decide(relation: str, masks: tuple[Mask, Mask], tables: Tables, seconds: float) -> Verdict:
    _check(masks, tables)
    z3 = require("z3", "prove")
    try:
        return _Question(z3, relation, masks, tables, seconds).verdict()
    except (TooLarge, _NoAnswer) as error:
        return Undecided(str(error))


def _check(masks: tuple[Mask, Mask], tables: str) -> None:
    for mask in masks:
        refuse_selection(mask)
        if not isinstance(mask, Mask):
            raise MaskError(
                "masks are compared with masks",
                f"{type(mask).__name__} {str(mask)[:60]!r}",
                "Write am.table(array) for a boolean array, am.trace(f) for a function",
            )
    if tables not in ("given", "any"):
        raise MaskError("tables are 'given' or 'any'", repr(tables), "Write tables='any' for every content of them")


class _NoAnswer(Exception):
    """z3 gave up or ran out of time."""


class _Question:
    """One claim about two masks, as formulas, and the time left to decide it."""

    def __init__(self, z3: Any, relation: str, masks: tuple[Mask, Mask], tables: Tables, seconds: float) -> None:
        self.z3, self.relation, self.masks = z3, relation, masks
        self.seconds, self.end = seconds, time.monotonic() + seconds
        self.formulas = formulas = Formulas(z3, any_tables=tables == "any")
        left, right = (fold(mask.node, formulas) for mask in masks)
        self.wrong = z3.And(left, z3.Not(right)) if relation == "implies" else z3.Xor(left, right)
        self.at = {name: formulas.index(name) for name in INDICES}
        used = masks[0].depends_on | masks[1].depends_on
        unused = [position == 0 for name, position in self.at.items() if name not in used]
        self.universe = [*(self.at[name] >= 0 for name in "bhk"), *unused, *formulas.inside]

    def verdict(self) -> Verdict:
        """Look for a wrong position among the usual queries, then among those before the first key."""
        self._check_universe()
        for region in (self.at["q"] >= 0, self.at["q"] < 0):
            model = self._find(self.wrong, region)
            if model is not None:
                return self._counter_example(self._smallest(model, region))
        return Proof(f"{self.masks[0]} {self.relation} {self.masks[1]}", self._scope())

    def _check_universe(self) -> None:
        for name, sizes in self.formulas.sizes.items():
            if len(sizes) > 1:
                raise MaskError(
                    "masks are compared over one batch and the same heads",
                    f"tables with {sorted(sizes)} entries along {name}",
                    "Build both masks from one batch",
                )
        if self.formulas.inside and self._find() is None:
            raise MaskError(
                "masks are compared at positions that all their tables hold",
                f"no such position for {self.masks[0]} and {self.masks[1]}",
                "Check the shapes of the tables, or compare with tables='any'",
            )

    def _scope(self) -> str:
        if self.formulas.any_tables:
            return "at every position whatever the tables hold"
        return "at every position" + " inside their tables" * bool(self.formulas.inside)

    def _find(self, *conditions: Any) -> Any:
        """A model of the universe and the conditions, or None."""
        solver = self.z3.Solver()
        solver.set("timeout", max(1, int(1000 * (self.end - time.monotonic()))))
        solver.add(*self.universe, *conditions)
        answer = solver.check()
        if answer == self.z3.unknown:
            raise _NoAnswer(f"z3 gave no answer within {self.seconds} seconds ({solver.reason_unknown()})")
        return solver.model() if answer == self.z3.sat else None

    def _smallest(self, model: Any, region: Any) -> Any:
        """A wrong position with the least sum, then the least batch, head and query."""
        query = self.z3.If(self.at["q"] < 0, -self.at["q"], self.at["q"])
        b, h, k = (self.at[name] for name in "bhk")
        found = [self.wrong, region]
        for measure in (b + h + query + k, b, h, query):
            model = self._least(measure, model, found)
            found.append(measure == _number(model, measure))
        return model

    def _least(self, measure: Any, model: Any, conditions: list[Any]) -> Any:
        low, high = 0, _number(model, measure)
        while low < high:
            middle = (low + high) // 2
            try:
                smaller = self._find(*conditions, measure <= middle)
            except _NoAnswer:
                return model
            if smaller is None:
                low = middle + 1
            else:
                model, high = smaller, _number(smaller, measure)
        return model

    def _counter_example(self, model: Any) -> CounterExample:
        """The position of a model, with the truth values that the language itself gives there."""
        position = {name: _number(model, index) for name, index in self.at.items()}
        entries = {
            (table, tuple(_number(model, place) for place in at)): _number(model, entry)
            for table, at, entry in self.formulas.entries
        }
        left, right = (_truth(mask, position, entries) for mask in self.masks)
        if left == right or (self.relation == "implies" and right):
            raise _NoAnswer(f"z3 named the position {position}, which is no counter-example")
        return CounterExample(**position, left=left, right=right, masks=self.masks, entries=entries)


def _number(model: Any, formula: Any) -> int:
    value = model.eval(formula, model_completion=True)
    return int(value.as_long()) if hasattr(value, "as_long") else int(str(value) == "True")


def _truth(mask: Mask, position: dict[str, int], entries: Entries) -> bool:
    """The mask at one position; a point is an interval whose bounds are exact."""

    def entry(table: Table, at: tuple[Pair, ...]) -> Pair:
        place = tuple(low for low, _ in at)
        value = entries[table, place] if (table, place) in entries else table[place]
        return value, value

    ranges = {name: (value, value) for name, value in position.items()}
    return bool(fold(mask.node, Intervals(ranges, entry))[0])
