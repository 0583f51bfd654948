"""Normal forms as people write them: ``k <= q`` for ``0 <= q - k``, and known parts by their names."""

from __future__ import annotations

from collections.abc import Mapping

from attnmask.define.language import Apply, Const, Lookup, Node
from attnmask.define.normal.linear import chain, linear, sides

Known = Mapping[Node, Node]  # normal form -> the part as it was written


def written(node: Node, known: Known) -> Node:
    """A normal form in the shortest notation, with the parts that are already known as they were written."""
    if node in known:
        return known[node]
    match node:
        case Apply("&" | "|" as op, args):
            parts = _covered(op, args, known)
            return parts[0] if len(parts) == 1 else Apply(op, parts)
        case Apply("<=" | "==" as op, (Const(limit), term)):
            more, less = _both_sides(term, known)
            return _compared(op, less, more, -int(limit))
        case Apply("<=" | "==" as op, (term, Const(limit))):
            more, less = _both_sides(term, known)
            return _compared(op, more, less, int(limit))
        case Apply(op, args):
            return Apply(op, tuple(written(part, known) for part in args))
        case Lookup(table, at):
            return Lookup(table, tuple(written(part, known) for part in at))
    return node


def _both_sides(term: Node, known: Known) -> tuple[list[Node], list[Node]]:
    positive, negative = sides(linear(term))
    return [written(part, known) for part in positive], [written(part, known) for part in negative]


def _compared(op: str, more: list[Node], less: list[Node], limit: int) -> Node:
    """``more - less op limit``, without a negative number and with as few nodes as can be."""
    if not less:
        return Apply(op, (chain("+", more), Const(limit)))
    if not more:
        return Apply(op, (Const(-limit), chain("+", less)))
    if limit == 0 or (limit, op) == (-1, "<="):
        return Apply("<" if limit else op, (chain("+", more), chain("+", less)))
    if limit > 0:
        return Apply(op, (chain("-", [chain("+", more), *less]), Const(limit)))
    turned = (Const(-limit), chain("-", [chain("+", less), *more]))
    return Apply(op, turned if op == "<=" else turned[::-1])


def _covered(op: str, args: tuple[Node, ...], known: Known) -> tuple[Node, ...]:
    """The known parts that are some of the arguments, the largest first, then what none of them says."""
    rest = set(args)
    chosen = set()
    for normal in sorted(known, key=lambda node: -len(parts_of(op, node))):
        parts = parts_of(op, normal)
        if parts <= set(args) and parts & rest:
            chosen.add(normal)
            rest -= parts
    as_written = [part for normal, part in known.items() if normal in chosen]
    return (*as_written, *(written(part, known) for part in args if part in rest))


def parts_of(op: str, normal: Node) -> set[Node]:
    """The normal form as a set joined by ``&`` or ``|``."""
    return set(normal.args) if isinstance(normal, Apply) and normal.op == op else {normal}
