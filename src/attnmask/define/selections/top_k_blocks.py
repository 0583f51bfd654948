"""Blocks of keys ranked by their pooled key (Yuan et al. 2025, "Native Sparse Attention"; Lu et al. 2025, "MoBA")."""

from attnmask.define.frame import Frame
from attnmask.define.masks.causal import causal
from attnmask.define.masks.padding import padding
from attnmask.define.masks.window import window
from attnmask.define.parts.numbers import check_number
from attnmask.define.selection import Selection


def top_k_blocks(k: int, size: int) -> Selection:
    """Of the blocks in which a query sees any key, it takes the ``k`` that rank highest, with all it sees in them.

    Block j holds the keys ``j * size .. (j + 1) * size``. It ranks by ``scale * q . mean``, where mean is the mean of
    those of its keys *that this query sees*: a mean over the whole block would know keys that are hidden from the query.
    Of equal blocks the earlier one is taken; a query that sees fewer than k blocks takes all. Gradients flow through
    the pairs that were taken; which ones are is not differentiated.

    >>> import attnmask as am
    >>> import numpy as np
    >>> q, k = np.ones((1, 1, 6, 1)), np.array([2.0, 2, 0, 9, 3, 0]).reshape(1, 1, 6, 1)
    >>> (am.attention_weights(q, k, am.causal() & am.top_k_blocks(1, 2))[0, 0] > 0).astype(int)
    array([[1, 0, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0],
           [0, 0, 1, 1, 0, 0],
           [0, 0, 1, 1, 0, 0],
           [0, 0, 1, 1, 0, 0]])

    Query 2 sees key 2 (score 0) but not key 3 (score 9), so its block ranks below the first.

    Args:
        k: blocks per query and head, at least 1.
        size: keys per block, at least 1.

    Raises:
        MaskError: k or size is no whole number of at least 1.

    Source:
        Mean pooling is MoBA's (arXiv:2502.13189), which always takes the query's own block too; selection by pooled
        keys is one branch of Native Sparse Attention (arXiv:2502.11089); Quest (arXiv:2406.10774) bounds the scores of
        a block instead.
    """
    for name, value in (("k", k), ("size", size)):
        check_number(
            name,
            value,
            least=1,
            rule="a query takes at least 1 block of at least 1 key",
            fix="Write top_k_blocks(16, 64) for 16 blocks of 64 keys",
        )
    return Selection.of("top_k_blocks", k, size)


EXAMPLES = [
    (top_k_blocks(2, 2), Frame(7)),
    (causal() & top_k_blocks(2, 3), Frame(8)),
    (window(5, 1) & padding([3, 9], side="left", kv_len=9) & top_k_blocks(1, 2), Frame(4, 9, q_start=3)),
]
