"""``diagnose``: name the mistakes in a mask array, or in a matrix of masked scores, from the array alone.

First the values are read (``_read_values``): what kind of array is this, which cells are visible, and which mistakes
show in the numbers. Then the pattern of visible cells is judged (``_PATTERN_CHECKS``). Each finding has a code, a
message, where it is, and what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import InputError
from attnmask.exchange.exchange import checked_framework
from attnmask.lower.fills import FORMATS

Bools = NDArray[np.bool_]

HIDDEN_IS_TRUE = ("torch.mha", "tensorflow")
HIDES = -1000.0  # a number this far below the others hides its cell in every floating-point format
LEARNABLE = -1e5  # fills above this one can be reached by scores of a trained model


class Finding(NamedTuple):
    """One mistake: a stable code, what it means, where it stands, and what to write instead."""

    code: str
    message: str
    where: str
    fix: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.where}). {self.fix}."


class Reading(NamedTuple):
    """What the values of an array say: visible cells, whether they are scores, and the mistakes seen in them."""

    visible: Bools
    findings: list[Finding]


def diagnose(array: Any, framework: str | None = None) -> list[Finding]:
    """The mistakes that a mask array shows, for people who were handed one.

    Takes what goes around in code: booleans, numbers 0 and 1, additive biases, and whole matrices of masked scores,
    of NumPy, torch or JAX, (q_len, kv_len) or with batch and head axes before.

    >>> import numpy as np
    >>> import attnmask as am
    >>> [finding.code for finding in am.diagnose(np.triu(np.ones((3, 3), bool), 1))]
    ['inverted-polarity', 'hidden-self', 'empty-row']
    >>> am.diagnose(np.tril(np.ones((3, 3), bool)))
    []

    Args:
        array: at least two axes, queries and keys last.
        framework: whose convention the array follows; it decides what True and 1 mean. By default True is visible.
    """
    if framework is not None:
        checked_framework(framework)
    values = _as_numpy(array)
    if values.ndim < 2 or values.size == 0:
        raise InputError(
            "a mask has a query and a key axis", f"shape {values.shape}", "Give (q_len, kv_len) or (..., q_len, kv_len)"
        )
    reading = _read_values(values, framework in HIDDEN_IS_TRUE, str(getattr(array, "dtype", values.dtype)))
    patterns = [finding for check in _PATTERN_CHECKS for finding in check(reading.visible)]
    return reading.findings + patterns


def _as_numpy(array: Any) -> NDArray[Any]:
    if hasattr(array, "detach"):  # torch, whose bfloat16 NumPy does not have
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    values = np.asarray(array)
    if values.dtype.kind not in "biuf":
        raise InputError("a mask holds booleans or numbers", f"dtype {values.dtype}", "Convert it to bool or float")
    return values


def _read_values(values: NDArray[Any], true_hides: bool, dtype: str) -> Reading:
    if values.dtype.kind == "b":
        return Reading(values != true_hides, [])
    if values.dtype.kind in "iu":
        return Reading((values != 0) != true_hides, list(_integer(values)))
    numbers = values.astype(np.float64)
    nan = np.isnan(numbers)
    if nan.any():
        finding = Finding(
            "nan", "NaN spreads to every output of its row", _cells(nan), "Find the empty row that made it"
        )
        return Reading(numbers > HIDES, [finding])
    if np.isin(numbers, (0, 1)).all():
        if true_hides:
            return Reading(numbers == 0, [])
        return Reading(np.ones(numbers.shape, bool), list(_zero_one(numbers)))  # added, it hides nothing
    if np.isin(numbers[numbers > HIDES], (0, 1)).all():
        return Reading(numbers > HIDES, list(_additive(numbers, dtype)))
    return _scores(numbers, dtype)


def _integer(values: NDArray[Any]) -> Iterator[Finding]:
    yield Finding(
        "integer-mask",
        "an integer mask is refused by some frameworks and added to the scores by others",
        f"dtype {values.dtype}",
        "Convert it to bool after checking what 1 means",
    )


def _zero_one(numbers: NDArray[Any]) -> Iterator[Finding]:
    yield Finding(
        "zero-one-float",
        "a float mask is added to the scores: 0 and 1 hide nothing, they only raise some scores by 1",
        _cells(numbers == 1),
        "Make it boolean: am.read(array.astype(bool), ...) or am.table(array.astype(bool))",
    )


def _additive(numbers: NDArray[Any], dtype: str) -> Iterator[Finding]:
    """Mistakes in an array that is 0 (or 1) where visible and a large negative number elsewhere."""
    if (numbers == 1).any():
        yield Finding(
            "added-one",
            "an added 1 hides nothing; a hidden cell needs minus infinity",
            _cells(numbers == 1),
            "Replace the ones by -inf, or combine boolean masks with & before making numbers",
        )
    yield from _fills(numbers[numbers <= HIDES], numbers, dtype)


def _fills(fills: NDArray[Any], numbers: NDArray[Any], dtype: str) -> Iterator[Finding]:
    kinds = np.unique(fills)
    finite = kinds[np.isfinite(kinds)]
    if (finite > LEARNABLE).any():
        yield Finding(
            "weak-fill",
            f"a fill of {finite.max():g} can be outgrown by a learned score, and where a row is wholly hidden it hides nothing",
            _cells((numbers <= HIDES) & (numbers > LEARNABLE)),
            "Use -inf, or replace the score instead of adding to it",
        )
    lowest = _lowest(dtype)
    twice = any(np.isclose(2 * other, finite).any() for other in finite)
    overflow = lowest is not None and np.isinf(kinds).any() and bool((finite <= lowest / 2).any())
    if twice or overflow:
        yield Finding(
            "fill-added-twice",
            "a fill was added to a fill: sums of large negative numbers overflow to -inf, and a row of them is NaN",
            _cells(numbers <= (kinds.min() if twice else -np.inf)),
            "Combine the masks as booleans with &, and make numbers once, at the end",
        )


def _lowest(dtype: str) -> float | None:
    name = dtype.rpartition(".")[2]
    return FORMATS[name].lowest if name in FORMATS else None


def _scores(numbers: NDArray[Any], dtype: str) -> Reading:
    """A matrix of scores: hidden cells are far below the others; exact zeros mean that a mask was multiplied."""
    hidden = numbers <= HIDES
    zeros = numbers == 0
    if zeros.any() and not hidden.any() and _is_pattern(zeros):
        finding = Finding(
            "multiplied-mask",
            "a mask was multiplied with the scores: exp(0) = 1, so the hidden keys keep a share of the softmax",
            _cells(zeros),
            "Replace the scores: numpy.where(visible, scores, -numpy.inf)",
        )
        return Reading(np.logical_not(zeros), [finding])
    return Reading(np.logical_not(hidden), list(_fills(numbers[hidden], numbers, dtype)))


def _is_pattern(zeros: Bools) -> bool:
    """Whether exact zeros look like a mask: a whole side of the diagonal, or whole columns or rows."""
    q_len, kv_len = zeros.shape[-2:]
    upper = np.triu(np.ones((q_len, kv_len), bool), 1)
    sides = [upper, upper.T if q_len == kv_len else upper, np.triu(np.ones((q_len, kv_len), bool), kv_len - q_len + 1)]
    lines = zeros.all(-1).any() or zeros.all(-2).any()
    return bool(lines or any(side.any() and zeros[..., side].all() for side in sides))


def _inverted(visible: Bools) -> Iterator[Finding]:
    ahead = _ahead(visible)
    future, past = visible[..., ahead > 0], visible[..., ahead < 0]
    square = visible.shape[-2] == visible.shape[-1]
    if square and future.size and future.all() and not visible[..., 0, 0].all() and not past.all():
        yield Finding(
            "inverted-polarity",
            "each query sees the future and not its past: True and False (or hidden and visible) are exchanged",
            "above the diagonal",
            "Invert the mask: ~mask",
        )


def _future(visible: Bools) -> Iterator[Finding]:
    ahead = _ahead(visible)
    nearest, beyond, behind = visible[..., ahead == 1], visible[..., ahead > 1], visible[..., ahead == -2]
    if nearest.size and nearest.all() and beyond.size and not beyond.any() and behind.all():
        yield Finding(
            "off-by-one",
            "each query sees one token ahead, which in training is the answer",
            "the first diagonal above the main one",
            "Shift the mask by one: am.causal(), numpy.tril(ones) without k=1",
        )


def _hidden_self(visible: Bools) -> Iterator[Finding]:
    own = np.logical_not(visible[..., _ahead(visible) == 0])
    used = np.asarray(visible.any(-2))[..., : own.shape[-1]]  # keys that some query sees: padding hides itself rightly
    if visible.shape[-2] == visible.shape[-1] and own.size and (own & used).any() and own.mean() > 0.5:
        yield Finding(
            "hidden-self",
            "queries do not see their own position; the first one sees nothing at all",
            "the main diagonal",
            "Include the diagonal: k <= q, not k < q",
        )


def _empty(visible: Bools) -> Iterator[Finding]:
    empty = np.logical_not(visible.any(-1))
    if empty.any():
        yield Finding(
            "empty-row",
            "a row that sees nothing is NaN with -inf, and the mean of all values, forbidden ones included, with a finite fill",
            f"query row {_cells(empty)}",
            "Use am.attention, which gives exactly zero there, or let the row see itself and ignore its output",
        )


def _batch_as_query(visible: Bools) -> Iterator[Finding]:
    if visible.ndim != 2:
        return
    lengths = visible.sum(-1)
    prefixes = np.array_equal(visible, np.arange(visible.shape[1]) < lengths[:, None])
    steps = np.diff(lengths)
    if prefixes and len(steps) and not visible.all() and ((steps < 0).any() or (steps > 1).any()):
        yield Finding(
            "batch-as-query",
            "each row is a run of its own length: this looks like padding (batch, kv_len), read as (q_len, kv_len)",
            f"shape {visible.shape}, lengths {lengths[:8].tolist()}",
            "Give it axes: am.padding(valid=array), or array[:, None, None, :]",
        )


def _hides_everything(visible: Bools) -> Iterator[Finding]:
    if not visible.any():
        yield Finding(
            "hides-everything", "no query sees any key", "everywhere", "Invert the mask, or check how it was made"
        )


def _ahead(visible: Bools) -> NDArray[np.int64]:
    q_len, kv_len = visible.shape[-2:]
    ahead: NDArray[np.int64] = np.arange(kv_len)[None, :] - (np.arange(q_len) + (kv_len - q_len))[:, None]
    return ahead


def _cells(where: NDArray[Any]) -> str:
    """The first few positions of True, in words."""
    found = [str(tuple(map(int, cell))) if len(cell) > 1 else str(int(cell[0])) for cell in np.argwhere(where)[:3]]
    more = int(np.count_nonzero(where)) - len(found)
    return ", ".join(found) + (f" and {more} more" if more > 0 else "")


_PATTERN_CHECKS: tuple[Callable[[Bools], Iterator[Finding]], ...] = (
    _inverted,
    _future,
    _hidden_self,
    _empty,
    _batch_as_query,
    _hides_everything,
)
