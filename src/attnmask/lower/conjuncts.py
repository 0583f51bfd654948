"""What kernels know by name, found among the parts of a conjunction; and the exact rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

from attnmask.define.language import Apply, Const, Index, Lookup, Named, Node
from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.define.tables import Table

B, Q, K = Index("b"), Index("q"), Index("k")


class Known(NamedTuple):
    """One part of a conjunction that has a name: ``left`` and ``right`` sides of a window, padding ``lengths``,
    ``valid`` keys, ``documents`` ids, or ``chunk`` size; ``value`` is a number or a Table.
    """

    name: str
    value: Any
    part: Mask


def split(mask: Mask, names: tuple[str, ...]) -> tuple[list[Known], Mask | None]:
    """The parts with one of these names, and the conjunction of all others (None if there are none)."""
    known, rest = [], []
    for node in _parts(mask.node):
        found = _known(node)
        if found is not None and found.name in names:
            known.append(found)
        elif Mask(node) != everything():
            rest.append(Mask(node))
    return known, reduce(and_, rest) if rest else None


def _parts(node: Node) -> Iterator[Node]:
    """The conjuncts, looking through names only where a name stands for a conjunction."""
    inner = node
    while isinstance(inner, Named):
        inner = inner.body
    if isinstance(inner, Apply) and inner.op == "&":
        for part in inner.args:
            yield from _parts(part)
    else:
        yield node


def _known(node: Node) -> Known | None:
    mask = Mask(node)
    for name, read in READERS.items():
        value = read(mask.plain)
        if value is not None:
            return Known(name, value, mask)
    return None


def _left(node: Node) -> int | None:
    """q - k <= left, however it is written."""
    match node:
        case Apply("<=", (Apply("-", (Index("q"), Index("k"))), Const(left))):
            return int(left)
    return None


def _right(node: Node) -> int | None:
    """k - q <= right; causal, k <= q, is right = 0."""
    match node:
        case Apply("<=", (Index("k"), Index("q"))):
            return 0
        case Apply("<=", (Apply("-", (Index("k"), Index("q"))), Const(right))):
            return int(right)
    return None


def _lengths(node: Node) -> int | Table | None:
    match node:
        case Apply("<", (Index("k"), Const(length))):
            return int(length)
        case Apply("<", (Index("k"), Lookup(table, (Index("b"),)))):
            return table
        case Apply("<", (Index("k"), Lookup(table, ()))):
            return table[()]
    return None


def _valid(node: Node) -> Table | None:
    match node:
        case Lookup(table, (Index("b"), Index("k")) | (Index("k"),)) if table.kind == "bool":
            return table
    return None


def _documents(node: Node) -> Table | None:
    match node:
        case Apply("==", (Lookup(left, one), Lookup(right, other))) if left == right:
            if (one, other) in (((B, Q), (B, K)), ((Q,), (K,))):
                return left
    return None


def _chunk(node: Node) -> int | None:
    match node:
        case Apply("==", (Apply("//", (Index("q"), Const(one))), Apply("//", (Index("k"), Const(other))))) if (
            one == other
        ):
            return int(one)
    return None


READERS: dict[str, Callable[[Node], Any]] = {
    "left": _left,
    "right": _right,
    "lengths": _lengths,
    "valid": _valid,
    "documents": _documents,
    "chunk": _chunk,
}
