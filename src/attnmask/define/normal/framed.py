"""What a mask is within one frame: a window wider than the frame is causal there, and a causal decoding step sees all."""

from __future__ import annotations

import functools
from typing import Literal

from attnmask.define.fit import Fitted
from attnmask.define.language import Apply, Const, Node, fold
from attnmask.define.mask import Mask
from attnmask.define.normal.canonical import Normalizer
from attnmask.define.normal.tabulated import tabulated
from attnmask.define.parts.found import AHEAD

CAUSAL = Apply("<=", (Const(0), AHEAD))


Plain = Literal["everything", "causal", "other"]


def plain(mask: Mask, frame: Fitted) -> Plain:
    """What kernels need no mask for: each row of the frame sees all keys, or row i sees keys 0 .. i; else ``"other"``.

    >>> import attnmask as am
    >>> from attnmask.define.fit import fit
    >>> step, wide = am.Frame(1, 9, align="end"), am.window(20)
    >>> plain(am.causal(), fit(am.causal(), step))
    'everything'
    >>> plain(wide, fit(wide, 16)), plain(wide, fit(wide, 32))
    ('causal', 'other')
    """
    normal = normal_in(mask, frame)
    return "everything" if normal == Const(True) else "causal" if normal == CAUSAL else "other"


@functools.lru_cache(maxsize=256)
def normal_in(mask: Mask, frame: Fitted) -> Node:
    """The normal form over the positions of a frame, queries counted from its first row."""
    q_len, kv_len, start, batch, heads = frame
    sizes = {"b": batch, "h": heads, "q": q_len, "k": kv_len}
    return tabulated(fold(mask.shift(q=start).node, Normalizer({name: (0, size - 1) for name, size in sizes.items()})))
