"""``canonical``: one form for masks that the laws make equal, without names.

Built from the leaves upwards: sums and comparisons become linear, then the laws of ``laws.py`` are applied to each node
until none does. Every law gives something smaller, or takes an operation out of a comparison, or pushes ``~`` down;
so there is an end.

    ~(q < k)  &  (maximum(q - k, 0) < 4)
    ~(q - k <= -1)                       one number on one side
    0 <= q - k                           the opposite, pushed into the comparison
                 (q - k <= 3) & (0 <= 3)     a maximum is below a number where both of its parts are
    (0 <= q - k) & (q - k <= 3)          what is certain leaves
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from attnmask.define.bounds.bounds import Intervals, Pair, bounds
from attnmask.define.language import OPERATIONS, Apply, Const, Lookup, Named, Node, Rebuild, fold
from attnmask.define.mask import Mask
from attnmask.define.normal.linear import Linear, add, divide, linear, order, primitive, sum_of
from attnmask.define.normal.matching import Binding, all_match, candidates, head
from attnmask.define.normal.tabulated import tabulated
from attnmask.define.normal.written import written
from attnmask.define.tables import SparseTable, Table


def canonical(mask: Mask) -> Mask:
    """The form in which masks that the laws make equal are one, whatever they were called.

    Two masks with one canonical form are visible at the same positions; the reverse is not promised (``am.equivalent``
    decides it). The names of the parts are lost, and look-ups may come to ask for their positions in another way, which fewer
    frames are seen to fit: this form is for comparing, ``am.simplify`` for use.

    >>> import attnmask as am
    >>> canonical(am.window(3) & am.causal())
    (k <= q) & (q - k <= 3)
    >>> canonical(am.chunked(4) & ~am.chunked(4))
    False

    Args:
        mask: any mask.
    """
    return Mask(written(normal(mask.node), {}))


def normal(node: Node) -> Node:
    """The normal form: as ``canonical``, with every comparison as ``x <= c``, ``c <= x`` or ``same(x, c)``."""
    return fold(node, Normalizer())


# What holds of every position in every frame: batch, head and key count from 0, a query may stand before the first key.
FAR = 1 << 62
POSITIONS: dict[str, Pair] = dict.fromkeys("bhk", (0, FAR)) | {"q": (-FAR, FAR)}
CHOICES = ("minimum", "maximum", "abs", "where")
NUMBERS_LOOKED_AT = 1024  # of a table; larger ones may hold anything


@lru_cache(maxsize=256)
def normal_of(mask: Mask) -> Node:
    """The normal form over all positions that a frame can hold: what two masks share that are visible at the same ones."""
    return tabulated(fold(mask.node, Normalizer(POSITIONS)))


class Normalizer(Rebuild):
    """The walk that gives normal forms. It remembers what the laws made of each node, and serves for one mask.

    Args:
        ranges: where positions are known to lie, which decides some comparisons; by default anywhere.
    """

    def __init__(self, ranges: dict[str, Pair] | None = None) -> None:
        self.remembered: dict[Node, Node] = {}
        self.intervals = None if ranges is None else Intervals(ranges, _few_numbers)

    def lookup(self, table: Table, at: tuple[Node, ...]) -> Node:
        places = [part.value for part in at if isinstance(part, Const)]
        if len(places) == len(at) and all(0 <= place < size for place, size in zip(places, table.shape, strict=True)):
            entry = table[tuple(places)]
            return Const(bool(entry) if table.kind == "bool" else entry)
        while isinstance(at[0], Const) and 0 <= at[0].value < table.shape[0] and not isinstance(table, SparseTable):
            table, at = table.row(int(at[0].value)), at[1:]
        return Lookup(table, at)

    def apply(self, op: str, args: tuple[Node, ...]) -> Node:
        if op in ("&", "|"):
            return self._joined(op, args)
        if all(isinstance(part, Const) for part in args):
            return _number(op, args)
        if op in ("+", "-", "*"):
            return sum_of(self._remainders(linear(Apply(op, tuple(sorted(args, key=order)) if op == "*" else args))))
        if op in ("==", "<", "<="):
            return self._comparison(op, *args)
        if op in ("//", "%") and isinstance(args[1], Const):
            return self._divided(op, args[0], int(args[1].value))
        return self._rewritten(self._arranged(op, args))

    def opposite(self, node: Node) -> Node:
        """The normal form of ``~node``."""
        return self.apply("~", (node,))

    def _divided(self, op: str, x: Node, divisor: int) -> Node:
        """Multiples of the divisor come out of ``//`` and vanish under ``%``, where coefficients count modulo it."""
        whole, rest = divide(linear(x), divisor)
        found = self._quotient(op, rest, divisor)
        if op == "//":
            return sum_of(add(whole, linear(found)))
        if found != Apply(op, (sum_of(rest), Const(divisor))):
            return found
        rest = Linear({part: value % divisor for part, value in rest.parts.items()}, rest.constant)
        return self._quotient(op, rest, divisor)

    def _quotient(self, op: str, rest: Linear, divisor: int) -> Node:
        args = (sum_of(rest), Const(divisor))
        return self._rewritten(Apply(op, args)) if rest.parts else _number(op, args)

    def _comparison(self, op: str, x: Node, y: Node) -> Node:
        """``x op y`` with everything but one number on one side, divided by what divides all coefficients."""
        difference = self._remainders(add(linear(x), linear(y), -1))
        limit = -difference.constant - (op == "<")
        if not difference.parts:
            return Const(limit == 0 if op == "==" else limit >= 0)
        if choice := next((part for part in difference.parts if isinstance(part, Apply) and part.op in CHOICES), None):
            return self._by_cases(op, choice, difference)
        term, factor = primitive(difference)
        return self._bounded(op, sum_of(term), limit, factor)

    def _by_cases(self, op: str, choice: Apply, difference: Linear) -> Node:
        """``difference op 0`` where one part is a minimum, a maximum, a size or a choice: a comparison for each case."""
        factor = difference.parts[choice]
        rest = Linear({part: value for part, value in difference.parts.items() if part != choice}, difference.constant)

        def compared(case: Node, op: str) -> Node:
            return self._comparison(op, sum_of(add(rest, linear(case), factor)), Const(0))

        if choice.op == "where":
            condition, x, y = choice.args
            other = self.opposite(condition)
            return self._either(self._both(condition, compared(x, op)), self._both(other, compared(y, op)))
        if op == "==":
            at_least = self._comparison("<=", Const(0), sum_of(difference))
            return self._both(self._comparison("<=", sum_of(difference), Const(0)), at_least)
        x, y = choice.args if choice.op != "abs" else (choice.args[0], _negative(choice.args[0]))
        smaller = (choice.op == "minimum") == (factor > 0)  # it is the smaller of two sums that is compared
        return (self._either if smaller else self._both)(compared(x, op), compared(y, op))

    def _both(self, x: Node, y: Node) -> Node:
        return self.apply("&", (x, y))

    def _either(self, x: Node, y: Node) -> Node:
        return self.apply("|", (x, y))

    def _remainders(self, total: Linear) -> Linear:
        """``x - n * (x // n)`` as ``x % n``."""
        for quotient in total.parts:
            for whole, divisor in _numerators(quotient, total):
                times, left = divmod(-total.parts[quotient], divisor)
                less = add(total, whole, -times)
                if not left and all(part not in less.parts for part in whole.parts):
                    remainder = self._divided("%", sum_of(whole), divisor)
                    less = add(less, Linear({quotient: 1}, 0), times * divisor)
                    return self._remainders(add(less, linear(remainder), times))
        return total

    def _bounded(self, op: str, term: Node, limit: int, factor: int) -> Node:
        """``factor * term == limit``, or ``factor * term <= limit`` for the other operations."""
        match term:
            case Apply("*", (x, y)) if x == y:
                return self._squared(op, x, limit, factor)
        if op == "==":
            return Const(False) if limit % factor else self._decided(self._turned(term, limit // factor))
        if factor > 0:
            return self._decided(Apply("<=", (term, Const(limit // factor))))
        return self._decided(Apply("<=", (Const(-(limit // -factor)), term)))

    def _squared(self, op: str, x: Node, limit: int, factor: int) -> Node:
        """``factor * x * x op limit`` by the roots."""
        if op == "==":
            most, rest = divmod(limit, factor)
            root = math.isqrt(max(most, 0))
            return (
                Const(False) if rest or root * root != most else self._comparison("==", Apply("abs", (x,)), Const(root))
            )
        most = limit // factor if factor > 0 else -(limit // -factor) - 1  # x * x <= most, or its opposite
        inside = Const(False) if most < 0 else self._comparison("<=", Apply("abs", (x,)), Const(math.isqrt(most)))
        return inside if factor > 0 else self.opposite(inside)

    def _turned(self, term: Node, limit: int) -> Apply:
        """``same(term, limit)``; of a remainder and that of the negative, the one that comes first in order."""
        match term:
            case Apply("%", (x, Const(divisor))) if 0 <= limit < divisor:
                other = self._divided("%", _negative(x), int(divisor))
                if isinstance(other, Apply) and other.op == "%" and order(other) < order(term):
                    return Apply("==", (other, Const(-limit % divisor)))
        return Apply("==", (term, Const(limit)))

    def _decided(self, comparison: Apply) -> Node:
        """Whether a comparison holds, if it does so everywhere or nowhere; else what the laws make of it."""
        if self.intervals is not None:
            low, high = fold(comparison, self.intervals)
            if low == high:
                return Const(bool(low))
        return self._rewritten(comparison)

    def _arranged(self, op: str, args: tuple[Node, ...]) -> Apply:
        """Arguments in one order where order does not matter; of a condition and its opposite, the first in order."""
        if op in ("minimum", "maximum"):
            return Apply(op, tuple(sorted(args, key=order)))
        if op == "abs" and primitive(linear(args[0]))[1] < 0:
            return Apply(op, (_negative(args[0]),))
        if op == "where" and order(opposite := self.opposite(args[0])) < order(args[0]):
            return Apply(op, (opposite, args[2], args[1]))
        return Apply(op, args)

    def _joined(self, op: str, args: tuple[Node, ...]) -> Node:
        """``&`` or ``|`` of all parts, each pair tried against the laws."""
        waiting = sorted(_flat(op, args), key=order)
        kept: list[Node] = []
        while waiting:
            part = waiting.pop(0)
            for other in kept:
                pair = Apply(op, (other, part))
                joined = self._rewritten(pair)
                if joined != pair:
                    kept.remove(other)
                    waiting[:0] = _flat(op, (joined,))
                    break
            else:
                kept.append(part)
        return kept[0] if len(kept) == 1 else Apply(op, tuple(sorted(kept, key=order)))

    def _rewritten(self, node: Apply) -> Node:
        """The right side of the first law that applies, or the node itself."""
        if node not in self.remembered:
            self.remembered[node] = self._by_law(node)
        return self.remembered[node]

    def _by_law(self, node: Apply) -> Node:
        for law in candidates(node.op, tuple(map(head, node.args))):
            for bound in all_match(law.left.args, node, {}, self.opposite):
                filled = _Filled(bound, self)
                if fold(law.when, filled) == Const(True):
                    return fold(law.right, filled)
        return node


class _Filled(Rebuild):
    """Puts what the variables of a law stand for in their places."""

    def __init__(self, bound: Binding, normalizer: Normalizer) -> None:
        self.bound = bound
        self.normalizer = normalizer

    def index(self, name: str) -> Node:
        return self.bound[name]

    def named(self, node: Named, body: Node) -> Node:
        return self.bound[node.name]

    def apply(self, op: str, args: tuple[Node, ...]) -> Node:
        return self.normalizer.apply(op, args)


def _few_numbers(table: Table, at: tuple[Pair, ...]) -> Pair:
    """The bounds of a table, without a look at a large one."""
    if table.kind == "bool":
        return (0, 1)
    if table.role == "length":
        return (0, FAR)
    return table.bounds if table.size <= NUMBERS_LOOKED_AT else (-FAR, FAR)


def _number(op: str, args: tuple[Node, ...]) -> Const:
    value = bounds(Apply(op, args), {})[0]
    return Const(value if OPERATIONS[op][1] == "int" else bool(value))


def _negative(x: Node) -> Node:
    return sum_of(add(Linear({}, 0), linear(x), -1))


def _numerators(quotient: Node, total: Linear) -> Iterator[tuple[Linear, int]]:
    """What a part ``x // n`` of a sum divides, and by which number: x by n, and where x // m is a part that by n / m."""
    match quotient:
        case Apply("//", (x, Const(n))):
            yield linear(x), int(n)
            for part in total.parts:
                match part:
                    case Apply("//", (y, Const(m))) if x == y and m < n and n % m == 0:
                        yield Linear({part: 1}, 0), int(n) // int(m)


def _flat(op: str, args: tuple[Node, ...]) -> list[Node]:
    return [part for node in args for part in (node.args if isinstance(node, Apply) and node.op == op else (node,))]
