"""``predicate``: the mask as a function of positions, as FlexAttention's ``mask_mod`` wants it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import evaluate


def lower(mask: Mask, frame: Frame | int) -> Callable[[Any, Any, Any, Any], Any]:
    """A function ``(b, h, q, k) -> visible`` of rows and columns of the frame: query row 0 stands at ``q_start``.

    It takes numbers or arrays of NumPy, torch or JAX, and works inside their compilers.

    >>> import attnmask as am
    >>> sees = am.lower(am.causal(), am.Frame(2, 5, align="end"), "predicate")
    >>> sees(0, 0, 0, 3), sees(0, 0, 0, 4)
    (True, False)
    """
    start, node = fit(mask, frame).q_start, mask.node

    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        value = evaluate(node, b, h, q + start, k)
        if isinstance(value, bool) and hasattr(k, "dtype"):
            return (k >= 0) == value  # kernels want an array even where nothing varies
        return value

    return mask_mod
