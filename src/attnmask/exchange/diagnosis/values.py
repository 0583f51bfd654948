"""``Values``: what kind of array this is, which cells it was meant to show, and the fills that hide the others.

A *fill* is the number that stands for "hidden". Few distinct numbers, 0 among them, are a bias; many are scores, in
which fills are told by a gap: they lie far below everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attnmask.exchange.common import WEAKEST
from attnmask.lower.fills import FORMATS

Bools = NDArray[np.bool_]
Kind = Literal["booleans", "integers", "nan", "ones", "bias", "scores"]

TRUE_HIDES = ("torch.mha", "tensorflow")  # whose booleans and integers mean hidden where they are 1
MULTIPLIES = ("tensorflow",)  # whose formula multiplies a float mask of 0 and 1 by -1e9 before it is added

HIDES = -1000.0  # a score this far below the others has weight 0 in every floating-point format
MOST_LEVELS = 8  # distinct numbers of a bias that is a mask
SAMPLED = 1 << 16  # cells among which a gap is looked for
FEWEST = 4  # cells of scores that hold a weak fill
GAP = 4  # times the spread of what is visible: so far below it lies a fill
BLUR = 1e-6  # of a fill, by which rounding may move it


@dataclass(frozen=True, eq=False)
class Values:
    """An array of numbers or booleans, as a mask.

    >>> values = Values(np.where(np.tri(2, dtype=bool), 0, -100.0), "float64")
    >>> values.kind, values.fills, values.visible.tolist()
    ('bias', [-100.0], [[True, False], [True, True]])

    Attributes:
        array: (..., q_len, kv_len).
        dtype: the name of its own dtype, which NumPy may not have.
        framework: whose convention it follows.
    """

    array: NDArray[Any]
    dtype: str
    framework: str | None = None

    @cached_property
    def kind(self) -> Kind:
        """What the numbers look like."""
        if self.array.dtype.kind in "biu":
            return "booleans" if self.array.dtype.kind == "b" else "integers"
        if np.isnan(self.array).any():
            return "nan"
        known = set(self.levels)
        if known in ({0, 1}, {1}, {0, -1}):
            return "ones"
        return "bias" if known and self._is_bias(known - {0, 1}) else "scores"

    def _is_bias(self, others: set[float]) -> bool:
        """Whether these numbers beside 0 and 1 are fills: strong ones, or a single weak one and its double."""
        weak = sorted((value for value in others if value > HIDES), reverse=True)
        alone = len(weak) < 2 or (len(weak) == 2 and weak[1] == 2 * weak[0])
        up = others and all(value >= -WEAKEST for value in others) and len(others) == 1
        return bool(up) or (alone and all(value <= WEAKEST for value in others))

    @cached_property
    def levels(self) -> list[float]:
        """The distinct numbers, the largest first, if they are few; otherwise none."""
        rest, found = self.array.reshape(-1), list[float]()
        if len(set(rest[:: max(1, rest.size // 512)].tolist())) > MOST_LEVELS:
            return []
        while rest.size:
            if len(found) == MOST_LEVELS:
                return []
            found.append(float(rest[0]))
            rest = rest[rest != rest[0]]
        return sorted(found, reverse=True)

    @cached_property
    def visible(self) -> Bools:
        """The cells that were meant to be visible; all of them where the numbers hide nothing."""
        true_hides = self.framework in TRUE_HIDES
        match self.kind:
            case "booleans":
                return np.asarray(self.array != true_hides)
            case "integers" if self.array.min() <= WEAKEST:
                return np.asarray(self.array == 0)
            case "integers":
                return np.asarray((self.array != 0) != true_hides)
            case "ones":
                return self.array == 0 if self.framework in MULTIPLIES else np.ones(self.array.shape, bool)
            case "bias":
                return np.asarray((self.array == 0) | (self.array == 1))
            case "nan":
                return np.asarray(self.array > HIDES)
            case "scores":
                return np.asarray(self.array != 0 if self.multiplied else self.array > self._cut)

    @cached_property
    def multiplied(self) -> bool:
        """Whether exact zeros among scores look like a mask that was multiplied."""
        zeros = self.array == 0
        return bool(self.kind == "scores" and not self.fills and zeros.any() and is_pattern(zeros))

    @property
    def _cut(self) -> np.float64:
        """Half-way between the scores that are hidden and those that are not."""
        hidden = self._hidden
        return np.float64(hidden[-1] / 2 + self._scores[len(hidden)] / 2 if len(hidden) else -np.inf)

    @cached_property
    def _scores(self) -> NDArray[np.float64]:
        """Some of the finite scores, in order."""
        flat = self.array.reshape(-1)
        some = flat if flat.size <= SAMPLED else flat[np.random.default_rng(0).integers(0, flat.size, SAMPLED)]
        return np.sort(some[np.isfinite(some)].astype(np.float64))

    @cached_property
    def _hidden(self) -> NDArray[np.float64]:
        """Of the scores in order, those that are fills."""
        return self._scores[: fills_among(self._scores)]

    @cached_property
    def fills(self) -> list[float]:
        """The numbers that hide, the largest first; of scores, each with what the scores move it by left out."""
        if self.kind == "bias":
            return [level for level in self.levels if level < 0]
        if self.kind != "scores":
            return []
        hidden = self._hidden
        edges = np.flatnonzero(np.diff(hidden) > np.maximum(2 * self.spread, BLUR * np.abs(hidden[1:]))) + 1
        found = [float(np.median(part)) for part in np.split(hidden, edges)] if len(hidden) else []
        return sorted(found, reverse=True) + [-np.inf] * bool(np.isneginf(self.array).any())

    @cached_property
    def spread(self) -> float:
        """How far the visible scores lie apart."""
        shown = self._scores[len(self._hidden) :]
        return float(shown[-1] - shown[0]) if self.kind == "scores" and len(shown) else 0.0

    @property
    def lowest(self) -> float | None:
        """The lowest finite number of the dtype."""
        name = self.dtype.rpartition(".")[2]
        return FORMATS[name].lowest if name in FORMATS else None

    def at(self, fill: float) -> Bools:
        """The cells that hold a fill."""
        if np.isinf(fill) or not self.spread:
            return np.asarray(self.array == fill)
        blur = self.spread + BLUR * abs(fill)
        return np.asarray((self.array >= np.float64(fill - blur)) & (self.array <= np.float64(fill + blur)))


def fills_among(scores: NDArray[np.float64]) -> int:
    """How many of some scores, in order, lie below the first gap from above that is too wide for scores.

    >>> fills_among(np.array([-1e9, -1e9 + 1, -2.0, 0.5])), fills_among(np.arange(-3000.0, 0.0))
    (2, 0)
    """
    if scores.size < 2:
        return 0
    gaps, spread = np.diff(scores), scores[-1] - scores[1:]
    strong = (scores[:-1] <= HIDES) & (gaps >= np.maximum(-HIDES / 2, spread))
    tight = scores[:-1] - scores[0] <= 2 * spread + 1e-6
    many = np.arange(1, scores.size) >= max(FEWEST, scores.size // 64)  # a score far below the others is no fill
    weak = (scores[:-1] <= WEAKEST) & (gaps >= np.maximum(-2 * WEAKEST, GAP * spread)) & tight & many
    found = np.flatnonzero(strong | weak)
    return int(found[-1]) + 1 if len(found) else 0


def is_pattern(zeros: Bools) -> bool:
    """Whether all these cells are one side of the diagonal, and whole columns or rows.

    >>> is_pattern(~np.tri(3, dtype=bool)), is_pattern(np.eye(3, dtype=bool))
    (True, False)
    """
    q_len, kv_len = zeros.shape[-2:]
    others = zeros & ~zeros.all(-1, keepdims=True) & ~zeros.all(-2, keepdims=True)
    if not others.any():
        return True
    shown = [np.tri(q_len, kv_len, shift, dtype=bool) for shift in {0, kv_len - q_len}]
    shown += [~np.tri(q_len, kv_len, -1, dtype=bool)] if q_len == kv_len else []
    return any(bool((~side).any() and zeros[..., ~side].all() and not others[..., side].any()) for side in shown)
