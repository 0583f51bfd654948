"""Dilated attention: every step-th position, as in the dilated windows of Beltagy et al. 2020, "Longformer"."""

from collections.abc import Iterator

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q, same
from attnmask.define.parts.found import Found
from attnmask.define.parts.numbers import check_number


@kind
def dilated(step: int) -> Mask:
    """A query sees the keys at multiples of ``step`` from it, on both sides: ``(q - k) % step == 0``.

    >>> import attnmask as am
    >>> print(am.show(am.dilated(2), 5).text())
    dilated(2): 5 queries x 5 keys, 13 of 25 visible (52.0 %)
        0 1 2 3 4
      0 ■ · ■ · ■
      1 · ■ · ■ ·
      2 ■ · ■ · ■
      3 · ■ · ■ ·
      4 ■ · ■ · ■

    A dilated sliding window of 3 keys is ``dilated(2) & window(4)``.

    Args:
        step: positions from one visible key to the next, at least 1; 1 shows everything.
    """
    check_number("step", step, least=1, rule="a step is at least 1 position", fix="Write dilated(2)")
    return same((q - k) % step, 0)


def guesses(found: Found) -> Iterator[Mask]:
    """Steps of any number that positions are divided by."""
    yield from map(dilated, found.divisors)


EXAMPLES = [
    (dilated(2), Frame(8)),
    (dilated(3) & (k <= q), Frame(8)),
    (dilated(2) & (abs(q - k) <= 4), Frame(3, 9, align="end")),
]
