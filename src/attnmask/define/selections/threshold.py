"""The keys whose score is large enough (as rectified scores, Zhang et al. 2021, "Sparse attention with linear units")."""

import math

from attnmask.define.frame import Frame
from attnmask.define.masks.causal import causal
from attnmask.define.masks.padding import padding
from attnmask.define.selection import Selection
from attnmask.errors import MaskError


def threshold(x: float) -> Selection:
    """Of the keys that a query sees, it takes those of score at least ``x``.

    Score: ``scale * q . k``. A query for which no key reaches x gives 0. Gradients flow through the keys that were
    taken; which ones are is not differentiated.

    >>> import attnmask as am
    >>> import numpy as np
    >>> q, k = np.ones((1, 1, 4, 1)), np.array([0.0, 1, -1, 3]).reshape(1, 1, 4, 1)
    >>> (am.attention_weights(q, k, am.causal() & am.threshold(1))[0, 0] > 0).astype(int)
    array([[0, 0, 0, 0],
           [0, 1, 0, 0],
           [0, 1, 0, 0],
           [0, 1, 0, 1]])

    Args:
        x: the least score, a finite number.

    Raises:
        MaskError: x is no finite number.

    Source:
        arXiv:2104.07012 keeps the positive scores, without softmax.
    """
    if isinstance(x, bool) or not isinstance(x, (int, float)) or not math.isfinite(x):
        raise MaskError("a threshold is a finite number", repr(x), "Write threshold(0.0), or no threshold")
    return Selection.of("threshold", float(x))


EXAMPLES = [
    (threshold(0.0), Frame(6)),
    (causal() & threshold(0.25), Frame(8)),
    (causal() & padding([5, 0]) & threshold(-0.5), Frame(2, 5, align="end")),
]
