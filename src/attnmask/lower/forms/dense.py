"""``dense``: every position as a boolean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower import grid


def lower(mask: Mask, frame: Frame | int) -> NDArray[np.bool_]:
    """Boolean (batch, heads, q_len, kv_len), True = visible; size 1 where batch or heads make no difference."""
    return grid.dense(mask, frame)
