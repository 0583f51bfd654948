"""What is found in the normal form of a mask: comparisons and look-ups from which a kind tells its own members.

The file of a kind may hold ``guesses(found)``: the members of the kind that the expression may be made of. A guess need
not be right, for it is compared with the expression (``normal/named.py``); it only has to come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from attnmask.define.language import Apply, Const, Index, Lookup, Node
from attnmask.define.mask import Term
from attnmask.define.tables import Table

B, H, Q, K = (Index(name) for name in "bhqk")
AHEAD = Apply("-", (Q, K))  # q - k, as normal forms write it
OWN_ROW = (
    (B,),
    (),
)  # what a look-up has before its position, if there are rows for each sequence, and if there are none


@dataclass(frozen=True)
class Found:
    """The comparisons ``x <= c``, ``c <= x``, ``same(x, c)`` of a normal form, its other nodes, and its divisors."""

    nodes: tuple[Node, ...]

    @property
    def divisors(self) -> list[int]:
        """The numbers from 2 that positions are divided by."""
        numbers = {int(node.args[1].value) for node in self._applied("//", "%") if isinstance(node.args[1], Const)}
        return sorted(number for number in numbers if number > 1)

    def at_most(self, term: Node | Term) -> list[int]:
        """The numbers c with ``term <= c``."""
        return self._limits(term, "<=", 0)

    def at_least(self, term: Node | Term) -> list[int]:
        """The numbers c with ``c <= term``."""
        return self._limits(term, "<=", 1)

    def equal(self, term: Node | Term) -> list[int]:
        """The numbers c with ``same(term, c)``."""
        return self._limits(term, "==", 0)

    def compared(self, op: str, limit: int) -> Iterator[tuple[Node, Node]]:
        """The sides of ``x - y op limit``."""
        for node in self._applied(op):
            match node.args:
                case (Apply("-", (x, y)), Const(value)) if value == limit:
                    yield x, y

    @property
    def limits(self) -> list[int]:
        """All numbers that quotients and remainders are compared with."""
        numbers = {
            int(side.value)
            for node in self._applied("<=", "==")
            for side in node.args
            if isinstance(side, Const) and any(isinstance(part, Apply) for part in node.args)
        }
        return sorted(numbers)

    def tables(self, *at: Node) -> Iterator[Table]:
        """The tables that are looked up at exactly these positions."""
        for node in self.nodes:
            if isinstance(node, Lookup) and node.at == at:
                yield node.table

    def _limits(self, term: Node | Term, op: str, place: int) -> list[int]:
        term = term.node if isinstance(term, Term) else term
        limits = [
            int(other.value)
            for node in self._applied(op)
            if node.args[place] == term and isinstance(other := node.args[1 - place], Const)
        ]
        return sorted(set(limits))

    def _applied(self, *ops: str) -> Iterator[Apply]:
        return (node for node in self.nodes if isinstance(node, Apply) and node.op in ops)


def compared_rows(found: Found) -> Iterator[Table]:
    """The tables of which the entries at query and key are compared for equality."""
    for x, y in found.compared("==", 0):
        match x, y:
            case Lookup(table, (*rows, one)), Lookup(other, (*same_rows, two)) if table == other:
                if (one, two) in ((Q, K), (K, Q)) and rows == same_rows and tuple(rows) in OWN_ROW:
                    yield table


def grid_shapes(found: Found) -> Iterator[list[int]]:
    """The grids (rows, columns) of which queries and keys are kept inside."""
    for last in set(found.at_most(Q)) & set(found.at_most(K)):
        yield from ([(last + 1) // width, width] for width in found.divisors if (last + 1) % width == 0)
