"""Prefix masks: every query sees a prefix; ``prefix(n) | causal()`` is the prefix LM (Raffel et al. 2020, "T5")."""

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q
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


EXAMPLES = [
    (prefix(3) | (k <= q), Frame(8)),
    (prefix([1, 4]) | (k <= q), Frame(6)),
    (prefix([2, 5]) | (k <= q), Frame(3, 7, align="end")),
]
