"""Attention sinks: the first tokens stay visible to all (Xiao et al. 2023, "Efficient streaming language models")."""

from collections.abc import Iterator

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q
from attnmask.define.parts.found import Found
from attnmask.define.parts.numbers import check_number


@kind
def sinks(count: int) -> Mask:
    """Every query sees the first ``count`` keys: ``k < count``.

    Streaming attention keeps them beside a window: ``causal() & (sinks(4) | window(1020))``. The ``causal()`` is
    needed, for else the sinks would see each other's future.

    >>> import attnmask as am
    >>> print(am.show(am.causal() & (am.sinks(1) | am.window(1)), 5).text())
    causal() & (sinks(1) | window(1)): 5 queries x 5 keys, 12 of 25 visible (48.0 %)
        0 1 2 3 4
      0 ■ · · · ·
      1 ■ ■ · · ·
      2 ■ ■ ■ · ·
      3 ■ · ■ ■ ·
      4 ■ · · ■ ■

    Args:
        count: number of sinks, at least 0. One number; a length per sequence is ``prefix``.
    """
    check_number("count", count, least=0, rule="the number of sinks is at least 0", fix="Write sinks(4)")
    return k < count


def guesses(found: Found) -> Iterator[Mask]:
    """The first keys up to any bound of ``k``."""
    yield from (sinks(last + 1) for last in found.at_most(k) if last >= 0)


EXAMPLES = [
    (sinks(2), Frame(6)),
    ((k <= q) & (sinks(2) | (q - k < 3)), Frame(8)),
    ((k <= q) & (sinks(1) | (q - k < 3)), Frame(2, 9, align="end")),
]
