"""The k keys of highest score (Gupta et al. 2021, "Memory-efficient Transformers via top-k attention")."""

from attnmask.define.frame import Frame
from attnmask.define.masks.causal import causal
from attnmask.define.masks.padding import padding
from attnmask.define.parts.numbers import check_number
from attnmask.define.selection import Selection


def top_k(k: int) -> Selection:
    """Of the keys that a query sees, it takes the ``k`` of highest score.

    Score: ``scale * q . k``. Of equal scores the earlier key is taken; a query that sees fewer than k keys takes all.
    Gradients flow through the keys that were taken; which ones are is not differentiated.

    >>> import attnmask as am
    >>> import numpy as np
    >>> q, k = np.ones((1, 1, 4, 1)), np.array([2.0, 1, 9, 3]).reshape(1, 1, 4, 1)
    >>> (am.attention_weights(q, k, am.causal() & am.top_k(2))[0, 0] > 0).astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [1, 0, 1, 0],
           [0, 0, 1, 1]])

    Args:
        k: keys per query and head, at least 1.

    Raises:
        MaskError: k is no whole number of at least 1.

    Source:
        arXiv:2106.06899.
    """
    check_number("k", k, least=1, rule="a query takes at least 1 key", fix="Write top_k(32)")
    return Selection.of("top_k", k)


EXAMPLES = [
    (top_k(2), Frame(6)),
    (causal() & top_k(3), Frame(8)),
    (causal() & padding([7, 3, 0]) & top_k(1), Frame(7)),
]
