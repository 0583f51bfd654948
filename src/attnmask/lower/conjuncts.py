"""What kernels know by name, found among the parts of a conjunction; and the exact rest.

The parts are those of the mask's normal form, so that what is found depends on what the mask allows, not on its spelling:

    ~(q < k) & (q - k < 4)    normal form    0 <= q - k   q - k <= 3
                              known          right = 0    left = 3
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from operator import and_
from typing import Any, NamedTuple

from attnmask.define.language import Apply, Const, Lookup, Named, Node
from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.define.normal.canonical import normal_of
from attnmask.define.normal.named import named
from attnmask.define.parts.found import AHEAD, OWN_ROW, B, K, Q
from attnmask.define.tables import Table


class Known(NamedTuple):
    """One part of a conjunction that has a name: ``left`` and ``right`` sides of a window, padding ``lengths``,
    ``valid`` keys, ``documents`` ids, or ``chunk`` size; ``value`` is a number or a Table.
    """

    name: str
    value: Any
    part: Mask


def split(mask: Mask, names: tuple[str, ...]) -> tuple[list[Known], Mask | None]:
    """The parts with one of these names, and the conjunction of all others (None if there are none)."""
    known: list[Known] = []
    rest: list[Mask] = []
    for node in _parts(named(mask).node):
        found = _known(node)
        if found and all(part.name in names for part in found):
            known += found
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


def _known(node: Node) -> list[Known]:
    """What a conjunct is called; both sides of a window if it is the diagonal."""
    mask = Mask(node)
    form = normal_of(mask)
    values = {name: read(form) for name, read in READERS.items()}
    return [Known(name, value, mask) for name, value in values.items() if value is not None]


def _left(node: Node) -> int | None:
    """``q - k <= left``."""
    match node:
        case Apply("<=", (term, Const(left))) if term == AHEAD:
            return int(left)
        case Apply("==", (term, Const(here))) if term == AHEAD:
            return int(here)
    return None


def _right(node: Node) -> int | None:
    """``k - q <= right``; causal is right = 0."""
    match node:
        case Apply("<=", (Const(right), term)) if term == AHEAD:
            return -int(right)
        case Apply("==", (term, Const(here))) if term == AHEAD:
            return -int(here)
    return None


def _lengths(node: Node) -> int | Table | None:
    """``k < lengths``, one number or one per sequence."""
    match node:
        case Apply("<=", (first, Const(last))) if first == K:
            return int(last) + 1
        case Apply("<=", (Apply("-", (first, Lookup(table, (at,)))), Const(-1))) if (first, at) == (K, B):
            return table
    return None


def _valid(node: Node) -> Table | None:
    match node:
        case Lookup(table, (*row, at)) if table.kind == "bool" and at == K and tuple(row) in OWN_ROW:
            return table
    return None


def _documents(node: Node) -> Table | None:
    match node:
        case Apply("==", (Apply("-", (Lookup(left, (*row, one)), Lookup(right, (*other_row, other)))), Const(0))):
            if left == right and row == other_row and tuple(row) in OWN_ROW and {one, other} == {Q, K}:
                return left
    return None


def _chunk(node: Node) -> int | None:
    match node:
        case Apply("==", (Apply("-", (Apply("//", (one, Const(size))), Apply("//", (other, Const(same))))), Const(0))):
            if size == same and (one, other) == (Q, K):
                return int(size)
    return None


READERS: dict[str, Callable[[Node], Any]] = {
    "left": _left,
    "right": _right,
    "lengths": _lengths,
    "valid": _valid,
    "documents": _documents,
    "chunk": _chunk,
}
