"""``canonical``: one form for masks that the laws make equal, without names.

Built from the leaves upwards: sums and comparisons become linear, then the laws of ``laws.py`` are applied to each node
until none does. Every law gives something smaller, or takes an operation out of a comparison, or pushes ``~`` down;
so there is an end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from attnmask.define.bounds import bounds
from attnmask.define.language import Apply, Const, Index, Lookup, Named, Node, Rebuild, fold
from attnmask.define.laws import LAWS, NUMBERS, POSITIVE, Law
from attnmask.define.linear import Linear, add, divide, linear, order, primitive, sum_of
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.define.written import written

Binding = dict[str, Node]


def canonical(mask: Mask) -> Mask:
    """The form in which masks that the laws make equal are one, whatever they were called.

    Two masks with one canonical form are visible at the same positions; the reverse is not promised (``am.equivalent``
    decides it). The names of the parts are lost: ``am.simplify`` keeps them.

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
    return fold(node, _Normal())


class _Normal(Rebuild):
    def lookup(self, table: Table, at: tuple[Node, ...]) -> Node:
        places = [part.value for part in at if isinstance(part, Const)]
        if len(places) == len(at) and all(0 <= place < size for place, size in zip(places, table.shape, strict=True)):
            entry = table[tuple(places)]
            return Const(bool(entry) if table.kind == "bool" else entry)
        return Lookup(table, at)

    def apply(self, op: str, args: tuple[Node, ...]) -> Node:
        return _built(op, args)


def _built(op: str, args: tuple[Node, ...]) -> Node:
    """The normal form of an operation on normal forms."""
    if op in ("&", "|"):
        return _joined(op, args)
    if all(isinstance(part, Const) for part in args):
        value = bounds(Apply(op, args), {})[0]
        return Const(value if op not in ("~", "==", "<", "<=") else bool(value))
    if op in ("+", "-", "*"):
        return _arithmetic(op, args)
    if op in ("==", "<", "<="):
        return _comparison(op, *args)
    if op in ("//", "%") and isinstance(args[1], Const):
        return _divided(op, args[0], int(args[1].value))
    return _rewritten(_arranged(op, args))


def _arithmetic(op: str, args: tuple[Node, ...]) -> Node:
    return sum_of(linear(Apply(op, tuple(sorted(args, key=order)) if op == "*" else args)))


def _divided(op: str, x: Node, divisor: int) -> Node:
    """Multiples of the divisor come out of ``//`` and vanish under ``%``, where coefficients count modulo it."""
    whole, rest = divide(linear(x), divisor)
    if op == "%":
        rest = Linear({part: value % divisor for part, value in rest.parts.items()}, rest.constant)
        return _law_or_number(Apply("%", (sum_of(rest), Const(divisor))))
    quotient = _law_or_number(Apply("//", (sum_of(rest), Const(divisor))))
    return sum_of(add(whole, linear(quotient)))


def _law_or_number(node: Apply) -> Node:
    return Const(bounds(node, {})[0]) if isinstance(node.args[0], Const) else _rewritten(node)


def _comparison(op: str, x: Node, y: Node) -> Node:
    """``x op y`` with everything but one number on one side, divided by what divides all coefficients."""
    difference = add(linear(x), linear(y), -1)
    limit = -difference.constant - (op == "<")
    if not difference.parts:
        return Const(limit == 0 if op == "==" else limit >= 0)
    term, factor = primitive(difference)
    return _bounded(op, sum_of(term), limit, factor)


def _bounded(op: str, term: Node, limit: int, factor: int) -> Node:
    """``factor * term == limit``, or ``factor * term <= limit`` for the other operations."""
    if op == "==":
        return Const(False) if limit % factor else _rewritten(Apply("==", (term, Const(limit // factor))))
    if factor > 0:
        return _rewritten(Apply("<=", (term, Const(limit // factor))))
    return _rewritten(Apply("<=", (Const(-(limit // -factor)), term)))


def _arranged(op: str, args: tuple[Node, ...]) -> Apply:
    """Arguments in one order where order does not matter; of a condition and its opposite, the first in order."""
    if op in ("minimum", "maximum"):
        return Apply(op, tuple(sorted(args, key=order)))
    if op == "abs" and primitive(linear(args[0]))[1] < 0:
        return Apply(op, (sum_of(add(Linear({}, 0), linear(args[0]), -1)),))
    if op == "where" and order(opposite := _opposite(args[0])) < order(args[0]):
        return Apply(op, (opposite, args[2], args[1]))
    return Apply(op, args)


def _joined(op: str, args: tuple[Node, ...]) -> Node:
    """``&`` or ``|`` of all parts, each pair tried against the laws."""
    waiting = sorted(_flat(op, args), key=order)
    kept: list[Node] = []
    while waiting:
        part = waiting.pop(0)
        for other in kept:
            pair = Apply(op, (other, part))
            joined = _rewritten(pair)
            if joined is not pair:
                kept.remove(other)
                waiting[:0] = _flat(op, (joined,))
                break
        else:
            kept.append(part)
    return kept[0] if len(kept) == 1 else Apply(op, tuple(sorted(kept, key=order)))


def _flat(op: str, args: tuple[Node, ...]) -> list[Node]:
    return [part for node in args for part in (node.args if isinstance(node, Apply) and node.op == op else (node,))]


# --- laws ------------------------------------------------------------------------------------------------------------

_BY_OPERATION: dict[str, list[Law]] = defaultdict(list)
for _law in LAWS:
    _BY_OPERATION[_law.left.op].append(_law)


def _rewritten(node: Apply) -> Node:
    """The right side of the first law that applies, or the node itself."""
    for law in _BY_OPERATION[node.op]:
        for bound in _all_match(law.left.args, node, {}):
            if fold(law.when, _Filled(bound)) == Const(True):
                return fold(law.right, _Filled(bound))
    return node


class _Filled(Rebuild):
    """Puts what the variables of a law stand for in their places."""

    def __init__(self, bound: Binding) -> None:
        self.bound = bound

    def index(self, name: str) -> Node:
        return self.bound[name]

    def named(self, node: Named, body: Node) -> Node:
        return self.bound[node.name]

    def apply(self, op: str, args: tuple[Node, ...]) -> Node:
        return _built(op, args)


def _matches(pattern: Node, node: Node, bound: Binding) -> Iterator[Binding]:
    """Every way to read the node as the pattern."""
    match pattern:
        case Const():
            if pattern == node:
                yield bound
        case Index(name) | Named(name=name):
            if bound.get(name, node) == node and _may_be(name, node):
                yield {**bound, name: node}
        case Apply("~", (Named(name=name),)) if name in bound:
            if _opposite(bound[name]) == node:
                yield bound
        case Apply(op, args) if isinstance(node, Apply) and node.op == op:
            yield from _all_match(args, node, bound)


def _may_be(name: str, node: Node) -> bool:
    if name not in NUMBERS:
        return True
    return isinstance(node, Const) and (name not in POSITIVE or node.value > 0)


def _all_match(patterns: tuple[Node, ...], node: Apply, bound: Binding) -> Iterator[Binding]:
    for args in _arrangements(patterns, node, bound):
        yield from _each_matches(patterns, args, bound)


def _each_matches(patterns: tuple[Node, ...], args: tuple[Node, ...], bound: Binding) -> Iterator[Binding]:
    if not patterns:
        yield bound
        return
    for first in _matches(patterns[0], args[0], bound):
        yield from _each_matches(patterns[1:], args[1:], first)


def _arrangements(patterns: tuple[Node, ...], node: Apply, bound: Binding) -> Iterator[tuple[Node, ...]]:
    """The arguments as many as the pattern has: all orders where order does not matter, the rest in one."""
    if node.op in ("minimum", "maximum"):
        yield node.args
        yield node.args[::-1]
    elif node.op not in ("&", "|"):
        yield node.args
    else:
        for place, part in enumerate(node.args):
            rest = node.args[:place] + node.args[place + 1 :]
            whole = rest[0] if len(rest) == 1 else Apply(node.op, rest)
            yield part, whole
            if len(rest) > 1:
                yield whole, part
        yield from _taken_out(patterns[0], node, bound)


def _taken_out(pattern: Node, node: Apply, bound: Binding) -> Iterator[tuple[Node, Node]]:
    """What the first variable stands for and the rest, if it is several of the arguments."""
    known = bound.get(pattern.name) if isinstance(pattern, Named) else None
    if not isinstance(known, Apply) or known.op != node.op or not set(known.args) < set(node.args):
        return
    rest = tuple(part for part in node.args if part not in known.args)
    yield known, rest[0] if len(rest) == 1 else Apply(node.op, rest)


def _opposite(node: Node) -> Node:
    return _built("~", (node,))
