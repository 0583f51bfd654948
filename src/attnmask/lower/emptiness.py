"""How errors name the rows of a mask that see nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attnmask.define.mask import Mask

FIX = "Use am.attention, which gives zero there, or accept it with empty_rows='keep'"
NAMED = 3  # rows that a text lists


def listed(mask: Mask, empty: NDArray[np.bool_]) -> str | None:
    """The number and the first of the empty rows (batch, heads, q_len) in words; None where there are none."""
    rows = np.argwhere(empty)
    if not len(rows):
        return None
    named = ", ".join(str(tuple(map(int, row))) for row in rows[:NAMED]) + (", ..." if len(rows) > NAMED else "")
    return f"{len(rows)} empty rows (batch, head, query row) {named} in {mask}"
