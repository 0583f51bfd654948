"""Prefix masks: every query sees a prefix; ``prefix(n) | causal()`` is the prefix LM (Raffel et al. 2020, "T5")."""

from collections.abc import Iterator
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.language import Named
from attnmask.define.mask import Mask, k, q
from attnmask.define.parts.found import B, Found
from attnmask.define.parts.lengths import lengths_term


@kind
def prefix(lengths: Any) -> Mask:
    """Every query sees the first ``lengths[b]`` keys: ``k < lengths[b]``.

    >>> import attnmask as am
    >>> print(am.show(am.prefix(2) | am.causal(), 4).text())
    prefix(2) | causal(): 4 queries x 4 keys, 11 of 16 visible (68.8 %)
        0 1 2 3
      0 ■ ■ · ·
      1 ■ ■ · ·
      2 ■ ■ ■ ·
      3 ■ ■ ■ ■

    Args:
        lengths: length of the prefix per sequence (batch,), or one number. At least 0, at most kv_len.
    """
    length = lengths_term(lengths)
    return k < length


def guesses(found: Found) -> Iterator[Mask]:
    """The keys up to a bound of ``k``, one number or a length per sequence, joined with the past as in a prefix-LM."""
    past = Mask(Named("causal", (), (k <= q).node))
    yield from (prefix(last + 1) | past for last in found.at_most(k) if last >= 0)
    yield from (prefix(lengths) | past for lengths in found.tables(B))


EXAMPLES = [
    (prefix(3) | (k <= q), Frame(8)),
    (prefix([1, 4]) | (k <= q), Frame(6)),
    (prefix([2, 5]) | (k <= q), Frame(3, 7, align="end")),
]
