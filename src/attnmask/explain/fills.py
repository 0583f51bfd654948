"""Why -1e9? What happens when a finite fill is added to scores, computed in each number format.

Every operation is rounded to the format: the fill is stored, added to scores, and goes through a softmax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnmask.lower.fills import FORMATS, rounded

SCORES = (2.0, 1.0, 0.0)  # a row of real scores
LEARNED = 1e4  # a score that a model can reach
FILLS: tuple[float | str, ...] = (float("-inf"), -1e9, -1e4, "lowest")

NAN = "NaN"
UNIFORM = "mean of all values"
UNMASKED = "unmasked attention"


@dataclass(frozen=True)
class FillRow:
    """What one fill does in one format when it is added.

    Args:
        dtype: the format.
        fill: the fill as it is written.
        stored: the number that the format keeps of it.
        exp: what its exponential is.
        empty_row: the weights of a row with scores 2, 1, 0 in which every key is hidden.
        twice: the number stored when the fill is added two times, as two masks would.
        undone: the weight of a hidden key of score +1e4 beside a visible key of score 0.
    """

    dtype: str
    fill: str
    stored: float
    exp: float
    empty_row: tuple[float, ...]
    twice: float
    undone: float

    @property
    def empty_row_is(self) -> str:
        """What the weights of the wholly hidden row amount to."""
        if np.isnan(self.empty_row).any():
            return NAN
        unmasked = softmax(rounded(np.array(SCORES), self.dtype), self.dtype)
        if len(set(self.empty_row)) == 1:
            return UNIFORM
        return UNMASKED if self.empty_row == tuple(map(float, unmasked)) else "a mixture"

    @property
    def overflows(self) -> bool:
        """Added twice, a finite fill becomes -inf."""
        return math.isfinite(self.stored) and not math.isfinite(self.twice)

    @property
    def verdict(self) -> str:
        """What goes wrong."""
        empty = {
            NAN: "empty rows are NaN",
            UNIFORM: "empty rows leak",
            UNMASKED: "empty rows unmasked",
        }
        faults = [empty.get(self.empty_row_is, self.empty_row_is)]
        faults += ["overflows"] * self.overflows
        faults += ["learned away"] * (self.undone > 0)
        return "; ".join(faults)


def softmax(scores: NDArray[np.floating], dtype: str) -> NDArray[np.floating]:
    """A softmax as a model computes it, each operation rounded: the largest score taken off, then the plain formula."""
    with np.errstate(invalid="ignore", under="ignore", over="ignore"):
        raised = rounded(np.exp(rounded(scores - scores.max(), dtype)), dtype)
        return rounded(raised / rounded(raised.sum(), dtype), dtype)


def study() -> tuple[FillRow, ...]:
    """Every fill in every format.

    >>> row = study()[5]
    >>> row.dtype, row.fill, row.empty_row_is, row.undone
    ('bfloat16', '-1e9', 'mean of all values', 0.0)
    """
    return tuple(_row(dtype, fill) for dtype in FORMATS for fill in FILLS)


def _row(dtype: str, fill: float | str) -> FillRow:
    number = FORMATS[dtype].lowest if isinstance(fill, str) else fill
    stored = rounded(number, dtype)
    with np.errstate(under="ignore", over="ignore"):
        exp = rounded(np.exp(stored), dtype)
        hidden_row = rounded(rounded(np.array(SCORES), dtype) + stored, dtype)
        twice = rounded(stored + stored, dtype)
        beside = rounded(np.array([rounded(rounded(LEARNED, dtype) + stored, dtype), rounded(0.0, dtype)]), dtype)
    return FillRow(
        dtype,
        {"lowest": "finfo.min", -np.inf: "-inf", -1e9: "-1e9", -1e4: "-1e4"}[fill],
        float(stored),
        float(exp),
        tuple(map(float, softmax(hidden_row, dtype))),
        float(twice),
        float(softmax(beside, dtype)[0]),
    )
