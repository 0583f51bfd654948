"""``simplify``: a shorter mask that is visible at the same positions, with the names that it had."""

from __future__ import annotations

from collections.abc import Iterator

from attnmask.define.canonical import normal
from attnmask.define.language import Apply, Const, Lookup, Named, Node, join, sort_of
from attnmask.define.linear import size
from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.define.masks.nothing import nothing
from attnmask.define.written import written
from attnmask.errors import MaskError


def simplify(mask: Mask) -> Mask:
    """The mask without what changes nothing: equal at every position, and never longer.

    >>> import attnmask as am
    >>> am.simplify(am.causal() & am.window(3) & am.everything())
    window(3)
    >>> am.simplify(am.padding([3, 2]) & (am.k + 1 <= am.q + 1) & (am.q - am.k < 8))
    padding([3, 2]) & (k <= q) & (q - k < 8)
    >>> am.simplify(am.chunked(4) - am.chunked(4))
    nothing()

    Parts keep their names unless something shorter says the same: ``window(5) & window(3, 2)`` becomes
    ``(k <= q) & (q - k <= 3)``. A mask that no law of ``define/laws.py`` shortens is returned as it is. Look-ups may
    disappear, so that the result fits every frame that the mask fits, and perhaps more.

    Args:
        mask: any mask.

    Raises:
        MaskError: what was given is no mask.
    """
    if not isinstance(mask, Mask):
        raise MaskError("simplify takes a mask", f"{type(mask).__name__} {str(mask)[:60]!r}", "Write am.table(array)")
    node = mask.node
    while (shorter := _shorter(node)) != node:
        node = shorter
    if isinstance(node, Const):
        return everything() if node.value else nothing()
    return Mask(node)


def _shorter(node: Node) -> Node:
    """The parts first, then the whole: it is replaced only by something strictly shorter, so there is an end."""
    match node:
        case Lookup(table, at):
            return Lookup(table, tuple(_shorter(part) for part in at))
        case Apply(op, args):
            node = _applied(op, [_shorter(part) for part in args])
            new = written(normal(node), _known(node))
            return new if size(new) < size(node) else node
    return node


def _applied(op: str, args: list[Node]) -> Node:
    if op not in ("&", "|"):
        return Apply(op, tuple(args))
    node = args[0]
    for part in args[1:]:
        node = join(op, node, part)
    return node


def _known(node: Node) -> dict[Node, Node]:
    """Normal form -> part, for the masks inside an expression; where several agree a named one, then its opposite."""
    found = [part for part in _inside(node) if sort_of(part) == "bool"]
    named = [part for part in found if isinstance(part, Named)]
    opposites = [Apply("~", (part,)) for part in named]
    known: dict[Node, Node] = {}
    for part in (*named, *opposites, *found):
        known.setdefault(normal(part), part)
    return known


def _inside(node: Node) -> Iterator[Node]:
    for part in node.args if isinstance(node, Apply) else node.at if isinstance(node, Lookup) else ():
        yield part
        yield from _inside(part)
