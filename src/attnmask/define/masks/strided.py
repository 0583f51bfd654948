"""The strided pattern of Child et al. 2019, "Generating long sequences with Sparse Transformers"."""

from collections.abc import Iterator

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q, same
from attnmask.define.parts.found import Found
from attnmask.define.parts.numbers import check_number


@kind
def strided(step: int) -> Mask:
    """A query sees the last ``step`` positions and, before them, every step-th: both heads of the pattern in one.

    ``(k <= q) & ((q - k < step) | ((q - k) % step == 0))``

    >>> import attnmask as am
    >>> print(am.show(am.strided(3), 7).text())
    strided(3): 7 queries x 7 keys, 23 of 49 visible (46.9 %)
        0 1 2 3 4 5 6
      0 ■ · · · · · ·
      1 ■ ■ · · · · ·
      2 ■ ■ ■ · · · ·
      3 ■ ■ ■ ■ · · ·
      4 · ■ ■ ■ ■ · ·
      5 · · ■ ■ ■ ■ ·
      6 ■ · · ■ ■ ■ ■

    The paper's other pattern, "fixed", with c summary positions per block, is
    ``causal() & (chunked(step) | (am.k % step >= step - c))``.

    Args:
        step: the stride in positions, at least 1; for an image of rows, the width of a row.
    """
    check_number("step", step, least=1, rule="a stride is at least 1 position", fix="Write strided(128)")
    return (k <= q) & ((q - k < step) | same((q - k) % step, 0))


def guesses(found: Found) -> Iterator[Mask]:
    """Strides of any number that positions are divided by."""
    yield from map(strided, found.divisors)


EXAMPLES = [(strided(3), Frame(8)), (strided(2), Frame(3, 9, align="end")), (strided(4), Frame(4, 9, q_start=3))]
