"""Whether a mask is a known mask turned inside out: the recognition has a shorter name for its opposite.

A mask of attention hides most queries from themselves only by mistake, so nothing is asked of masks that show them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.define.language import Apply, Lookup, Named, Node
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.exchange.diagnosis.pattern import Bools, Pattern
from attnmask.exchange.recognition.exact import exact
from attnmask.exchange.recognition.length import length

CORNER = 160  # positions: of a larger mask, a corner is asked about
MOST_SLICES = 4
UNNAMED = ("table", "graph", "shift")


def opposite(pattern: Pattern) -> str | None:
    """The known mask, in words, that this one is the opposite of.

    >>> print(opposite(Pattern(~np.tri(6, dtype=bool))), opposite(Pattern(np.tri(6, dtype=bool))))
    causal() None
    """
    if (pattern.slices == pattern.slices[:, :1]).all():  # all queries see the same: any keys may be meant
        return None
    slices = pattern.slices[:MOST_SLICES]
    for start in pattern.starts:
        if _hides_itself(pattern, start):
            known = _opposite(_corner(slices, at_end=start != 0), at_end=start != 0)
            if known is not None:
                return str(known)
    step = -(-pattern.q_len // CORNER)
    if step > 1 and pattern.is_square and _hides_itself(pattern, 0):  # documents may be larger than the corner
        known = _opposite(slices[:, ::step, ::step], at_end=False)
        return f"{known} at every {step}th position" if known is not None else None
    return None


def _hides_itself(pattern: Pattern, start: int) -> bool:
    """Whether queries do not see themselves, other than at keys that every query sees: padding turned inside out."""
    own, keys = pattern.own(start)
    asked = np.logical_not(np.asarray(pattern.slices.all(-2))[:, keys])
    return bool(asked.any() and not (own & asked).any())


def _corner(slices: Bools, at_end: bool) -> Bools:
    """The first or the last queries and keys, which keep their distance."""
    return slices[:, -CORNER:, -CORNER:] if at_end else slices[:, :CORNER, :CORNER]


def _opposite(visible: Bools, at_end: bool) -> Mask | None:
    hidden, here = Pattern(~visible), Pattern(visible)
    start = here.starts[0] if at_end else 0
    # A mask that nobody wants either: this one is wrong in another way, it hides queries from themselves.
    if not hidden.visible.any() or not visible.any() or (hidden.first >= hidden.rows + start).all():
        return None
    known = exact(hidden.visible[:, None], start)
    itself = [exact(visible[:, None], origin) for origin in here.starts]
    if not _is_named(known) or _is_lopsided(known):
        return None
    if any(_is_named(mask) and not _has_table(mask) and not _is_lopsided(mask) for mask in itself):
        return None
    return known if length(known) <= min(map(length, itself)) else None


def _is_named(mask: Mask) -> bool:
    """Whether a mask is made of kinds that are known, with no ``~`` and nothing listed cell by cell."""
    return all(
        not isinstance(part, Lookup)
        and not (isinstance(part, Apply) and part.op not in "&|")
        and not (isinstance(part, Named) and part.name in UNNAMED)
        for part in _parts(mask.node)
    )


def _has_table(mask: Mask) -> bool:
    """Whether a part of a mask is described by a table."""
    named = (part for part in _parts(mask.node) if isinstance(part, Named))
    return any(isinstance(value, Table) for part in named for _, value in part.args)


def _is_lopsided(mask: Mask) -> bool:
    """Whether a window shows all of one side and some of the other, as no model does."""
    windows = (part for part in _parts(mask.node) if isinstance(part, Named) and part.name == "window")
    return any(None in (sides := [value for _, value in part.args]) and sides[-1] != 0 for part in windows)


def _parts(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Apply):
        for part in node.args:
            yield from _parts(part)


def is_inverted_padding(pattern: Pattern) -> bool:
    """Whether keys are shown from some length on, to no query of the longest sequence: a padding mask inside out.

    Left padding shows the same keys, but its longest sequence is seen in full.
    """
    slices, used = pattern.slices, pattern.used
    suffixes = np.logical_not(used[:, :-1] & ~used[:, 1:]).all()
    alike = (slices == slices[:, :1]).all()
    return bool(alike and suffixes and used.any() and not used.any(-1).all() and not used.all(-1).any())
