"""``simplify``: a shorter mask that is visible at the same positions, with the names that it had."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

from attnmask.define.language import Apply, Const, Lookup, Named, Node, fold, join, sort_of
from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.define.masks.nothing import nothing
from attnmask.define.normal.canonical import Normalizer
from attnmask.define.normal.linear import size
from attnmask.define.normal.written import written
from attnmask.define.selection import refuse_selection
from attnmask.define.text.parse import given
from attnmask.errors import MaskError


def simplify(mask: Mask | str) -> Mask:
    """The mask without what changes nothing: equal at every position, and never longer.

    >>> import attnmask as am
    >>> am.simplify(am.causal() & am.window(3) & am.everything())
    window(3)
    >>> am.simplify(am.padding([3, 2]) & (am.k + 1 <= am.q + 1) & (am.q - am.k < 8))
    padding([3, 2]) & (k <= q) & (q - k < 8)
    >>> am.simplify(am.chunked(4) - am.chunked(4))
    nothing()

    Parts keep their names unless something shorter says the same: ``window(5) & window(3, 2)`` becomes
    ``(k <= q) & (q - k <= 3)``. A mask that no law of ``define/normal/laws.py`` shortens is returned as it is. Look-ups stay as
    they are or disappear, so that the result fits every frame that the mask fits, and perhaps more.

    Args:
        mask: any mask.

    Raises:
        MaskError: what was given is no mask.
    """
    mask = given(mask)
    refuse_selection(mask)
    if not isinstance(mask, Mask):
        raise MaskError("simplify takes a mask", f"{type(mask).__name__} {str(mask)[:60]!r}", "Write am.table(array)")
    node, shortened = mask.node, _Shortened()
    while (shorter := shortened.of(node)) != node:
        node = shorter
    if isinstance(node, Const):
        return everything() if node.value else nothing()
    return Mask(node)


class _Shortened:
    """Replaces the parts first, then the whole, each only by something strictly shorter, so that there is an end."""

    def __init__(self) -> None:
        self.normalizer = Normalizer()
        self.normal: dict[Node, Node] = {}

    def of(self, node: Node) -> Node:
        """The expression, or a shorter one."""
        match node:
            case Apply(op, args):
                node = _applied(op, [self.of(part) for part in args])
                new = written(self._normal(node), self._known(node))
                return new if size(new) < size(node) else node
        return node  # positions of a look-up, too: another form of them might no longer be seen to stay inside

    def _normal(self, node: Node) -> Node:
        if node not in self.normal:
            self.normal[node] = fold(node, self.normalizer)
        return self.normal[node]

    def _known(self, node: Node) -> dict[Node, Node]:
        """Normal form -> part, for the masks and look-ups inside an expression; of equal ones the named first."""
        found = [part for part in _inside(node) if sort_of(part) == "bool" or isinstance(part, Lookup)]
        named = [part for part in found if isinstance(part, Named)]
        opposites = [Apply("~", (part,)) for part in named]
        known: dict[Node, Node] = {}
        for part in (*named, *opposites, *found):
            known.setdefault(self._normal(part), part)
        return known


def _applied(op: str, args: list[Node]) -> Node:
    return reduce(lambda left, right: join(op, left, right), args) if op in ("&", "|") else Apply(op, tuple(args))


def _inside(node: Node) -> Iterator[Node]:
    for part in node.args if isinstance(node, Apply) else ():
        yield part
        yield from _inside(part)
