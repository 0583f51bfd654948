"""Sliding windows: local attention (Beltagy et al. 2020, "Longformer"; Jiang et al. 2023, "Mistral 7B")."""

from collections.abc import Iterator

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.language import Const
from attnmask.define.mask import Mask, k, q
from attnmask.define.parts.found import AHEAD, Found
from attnmask.errors import MaskError


@kind
def window(left: int | None, right: int | None = 0) -> Mask:
    """A query sees ``left`` keys before it, itself, and ``right`` keys after it.

    ``(q - k <= left) & (k - q <= right)``; ``None`` means no limit on that side.

    >>> import attnmask as am
    >>> print(am.show(am.window(2), 5).text())
    window(2): 5 queries x 5 keys, 12 of 25 visible (48.0 %)
        0 1 2 3 4
      0 ■ · · · ·
      1 ■ ■ · · ·
      2 ■ ■ ■ · ·
      3 · ■ ■ ■ ·
      4 · · ■ ■ ■

    Args:
        left: keys visible before the query's own position, at least 0. A framework's "window of W tokens" that
            counts the query itself is ``window(W - 1)``; ``docs/conventions.md`` lists them.
        right: keys visible after it, at least 0.
    """
    for name, side in (("left", left), ("right", right)):
        if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 0):
            raise MaskError(
                "a window counts positions on each side of the query, at least 0",
                f"{name}={side!r}",
                "Write window(left=2) to see 3 keys, itself included; None for no limit",
            )
    sides = [q - k <= left] if left is not None else []
    sides += [k - q <= right] if right is not None else []
    if not sides:
        return Mask(Const(True))
    return sides[0] & sides[1] if len(sides) == 2 else sides[0]


def guesses(found: Found) -> Iterator[Mask]:
    """Every pair of bounds of ``q - k``, and each bound alone."""
    here = found.equal(AHEAD)
    lefts = [left for left in found.at_most(AHEAD) + here if left >= 0]
    rights = [-right for right in found.at_least(AHEAD) + here if right <= 0]
    for right in rights:
        yield from (window(left, right) for left in lefts)
        if right:
            yield window(None, right)
    yield from (window(left, None) for left in lefts)


EXAMPLES = [
    (window(2), Frame(8)),
    (window(0), Frame(5)),
    (window(1, 2), Frame(7)),
    (window(None, 1), Frame(6)),
    (window(3, None), Frame(4, 9, q_start=3)),
    (window(2), Frame(2, 9, align="end")),
]
