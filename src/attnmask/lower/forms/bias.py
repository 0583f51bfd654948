"""``bias``: the mask as numbers for frameworks that add it to the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import LoweringError
from attnmask.lower import emptiness, grid
from attnmask.lower.fills import format_of

EMPTY_ROWS = {
    "-inf": "its softmax is 0/0, so the row's output is NaN",
    "finite": "its softmax is uniform, so the row's output is the mean of all values, forbidden ones included",
}


def lower(
    mask: Mask, frame: Frame | int, *, dtype: Any = "float32", fill: str = "-inf", empty_rows: str = "refuse"
) -> NDArray[Any]:
    """0 where visible, the fill where hidden: (batch, heads, q_len, kv_len) of a floating-point dtype.

    The whole mask becomes numbers here, once. Adding two of these arrays can overflow: combine the masks with ``&``.

    >>> import attnmask as am
    >>> am.lower(am.causal(), 2, "bias")[0, 0]
    array([[  0., -inf],
           [  0.,   0.]], dtype=float32)
    >>> am.lower(am.causal(), 2, "bias", dtype="float16", fill="finite")[0, 0].tolist()
    [[0.0, -65504.0], [0.0, 0.0]]

    Args:
        mask: the mask.
        frame: where it is seen.
        dtype: float16, bfloat16 (as float32 holding bfloat16 values), float32 or float64.
        fill: ``"-inf"``, or ``"finite"`` for the lowest finite number of the dtype.
        empty_rows: ``"refuse"`` masks with a row that sees nothing, since no framework that adds a bias gives
            zero there; ``"keep"`` to accept what the fill does to them (-inf: NaN; finite: the mean of all values).
    """
    number_format = format_of(dtype)
    if fill not in EMPTY_ROWS:
        raise LoweringError(
            "fill is '-inf' or 'finite'", repr(fill), "Write fill='finite' for the dtype's lowest number"
        )
    if empty_rows not in ("refuse", "keep"):
        raise LoweringError(
            "empty_rows is 'refuse' or 'keep'", repr(empty_rows), "Write empty_rows='keep' to accept them"
        )
    visible = grid.dense(mask, frame)
    if empty_rows == "refuse":
        _refuse_empty(mask, np.logical_not(visible.any(-1)), fill)
    hidden = -np.inf if fill == "-inf" else number_format.lowest
    return np.where(visible, 0.0, hidden).astype(number_format.storage)


def _refuse_empty(mask: Mask, empty: NDArray[np.bool_], fill: str) -> None:
    rows = emptiness.listed(mask, empty)
    if rows is not None:
        raise LoweringError(f"a bias cannot say that a row sees nothing: {EMPTY_ROWS[fill]}", rows, emptiness.FIX)
