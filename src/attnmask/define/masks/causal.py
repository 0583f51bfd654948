"""Causal (look-ahead) masking: no token sees a later one (Vaswani et al. 2017, section 3.2.3)."""

from collections.abc import Iterator

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q
from attnmask.define.parts.found import Found


@kind
def causal() -> Mask:
    """A query sees the keys up to its own position: ``k <= q``.

    >>> import attnmask as am
    >>> print(am.show(am.causal(), 4).text())
    causal(): 4 queries x 4 keys, 10 of 16 visible (62.5 %)
        0 1 2 3
      0 ■ · · ·
      1 ■ ■ · ·
      2 ■ ■ ■ ·
      3 ■ ■ ■ ■

    Positions are absolute; with ``q_len != kv_len`` the frame says where the queries stand.

    >>> print(am.show(am.causal(), am.Frame(2, 5, align="end")).text())
    causal(): 2 queries x 5 keys, 9 of 10 visible (90.0 %)
        0 1 2 3 4
      3 ■ ■ ■ ■ ·
      4 ■ ■ ■ ■ ■
    """
    return k <= q


def guesses(found: Found) -> Iterator[Mask]:
    """Causal, whatever else there is."""
    yield causal()


EXAMPLES = [
    (causal(), Frame(8)),
    (causal(), Frame(2, 5, align="end")),
    (causal(), Frame(5, 2, align="end")),
    (causal(), Frame(3, 7, align="start")),
    (causal(), Frame(4, 9, q_start=3)),
]
