"""How large a dense mask would be: refused where it cannot be held, warned of where another form is much cheaper."""

from __future__ import annotations

import math
import os
import warnings

from attnmask.define.fit import Fitted
from attnmask.define.mask import Mask
from attnmask.errors import LoweringError

LARGE = 1 << 30  # bytes from which a dense mask that somebody exports is worth a warning
CHEAP = 'Use am.attention(q, k, v, mask), or am.lower(mask, frame, "tiles"): both cost what is visible'


def check_dense(mask: Mask, frame: Fitted, item_bytes: int = 1) -> None:
    """Refuse a dense mask that is larger than the memory of the machine."""
    size, memory = math.prod(frame.shape) * item_bytes, _memory()
    if size > memory:
        raise LoweringError(
            "a dense mask is held in memory",
            f"{_gigabytes(size)} for {mask} of shape {frame.shape}, and {_gigabytes(memory)} of memory",
            CHEAP,
        )


def warn_of_dense(mask: Mask, frame: Fitted, item_bytes: int = 1) -> None:
    """Say what a large dense mask costs, and what is cheaper."""
    check_dense(mask, frame, item_bytes)
    size = math.prod(frame.shape) * item_bytes
    if size >= LARGE:
        warnings.warn(f"a dense mask of shape {frame.shape} takes {_gigabytes(size)}. {CHEAP}.", stacklevel=4)


def _memory() -> int:
    """The bytes of memory that the machine has; without limit where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
