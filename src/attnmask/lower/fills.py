"""Numbers that stand for "hidden" in a score: which one is safe in which number format.

``dtype`` names are those of NumPy and torch. NumPy has no bfloat16; its values are computed by rounding float32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import LoweringError


class Format(NamedTuple):
    """A floating-point format: the NumPy type that can hold its values, and its lowest finite value."""

    storage: type[np.floating]
    lowest: float


FORMATS = {
    "float16": Format(np.float16, -65504.0),
    "bfloat16": Format(np.float32, -3.3895313892515355e38),
    "float32": Format(np.float32, float(np.finfo(np.float32).min)),
    "float64": Format(np.float64, float(np.finfo(np.float64).min)),
}


def format_of(dtype: object) -> Format:
    """The format of a dtype: a name, a NumPy type, or a torch or JAX dtype.

    >>> format_of("torch.bfloat16").lowest
    -3.3895313892515355e+38
    """
    name = getattr(dtype, "__name__", str(dtype)).rpartition(".")[2]
    if name not in FORMATS:
        raise LoweringError("a bias has a floating-point dtype", repr(dtype), f"Choose one of {', '.join(FORMATS)}")
    return FORMATS[name]


def rounded(values: NDArray[np.floating] | float, dtype: str) -> NDArray[np.floating]:
    """Values as a format stores them: too large ones become infinite.

    >>> [float(rounded(-1e9, dtype)) for dtype in ("float32", "float16", "bfloat16")]
    [-1000000000.0, -inf, -998244352.0]
    """
    with np.errstate(over="ignore"):
        stored = np.asarray(values, dtype=format_of(dtype).storage)
    return _bfloat16(stored) if dtype == "bfloat16" else stored


def _bfloat16(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Round float32 to its upper 16 bits, to nearest, ties to even."""
    bits = np.atleast_1d(values).astype(np.float32).view(np.uint32)
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    result = np.where(np.isfinite(np.atleast_1d(values)), kept.view(np.float32), np.atleast_1d(values))
    return result.reshape(np.shape(values)).astype(np.float32)
