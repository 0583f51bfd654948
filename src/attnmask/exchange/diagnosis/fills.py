"""Mistakes that show in the numbers of a mask, one function each: extend ``MISTAKES`` to find one more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from attnmask.exchange.diagnosis.finding import Finding, cells
from attnmask.exchange.diagnosis.values import BLUR, HIDES, MULTIPLIES, Bools, Values
from attnmask.lower.fills import FORMATS, rounded

LEARNABLE = -1e5  # fills above this one can be reached by the scores of a trained model
INTEGERS = {
    "torch.sdpa": "scaled_dot_product_attention refuses a mask of integers",
    "torch.mha": "MultiheadAttention refuses a mask of integers, and warns of one of bytes",
    "jax.nn": "dot_product_attention refuses a mask of integers",
    "tensorflow": "the formula multiplies by -1e9, which TensorFlow refuses for integers",
}


def integer_mask(values: Values) -> Iterator[Finding]:
    """Numbers without a fraction, which are neither booleans nor a bias."""
    if values.kind == "integers":
        known = "an integer mask is refused by some frameworks and added to the scores by others"
        yield Finding(
            "integer-mask",
            INTEGERS.get(values.framework or "", known),
            f"dtype {values.array.dtype}",
            "Convert it to bool after checking what 1 means",
        )


def nan(values: Values) -> Iterator[Finding]:
    """Not a number, as a softmax over an empty row leaves it, or 0 * -inf."""
    if values.kind == "nan":
        where = cells(np.isnan(values.array))
        yield Finding("nan", "NaN spreads to every output of its row", where, "Find the empty row that made it")


def zero_one_float(values: Values) -> Iterator[Finding]:
    """A boolean mask made into numbers and never into a bias."""
    if values.kind == "ones" and values.framework not in MULTIPLIES:
        moved = (
            "0 and -1 hide nothing, they only lower"
            if min(values.levels) < 0
            else "0 and 1 hide nothing, they only raise"
        )
        yield Finding(
            "zero-one-float",
            f"a float mask is added to the scores: {moved} some scores by 1",
            cells(values.array != 0),
            "Make it boolean: am.read(array.astype(bool), ...) or am.table(array.astype(bool))",
        )


def added_one(values: Values) -> Iterator[Finding]:
    """A mask of 0 and 1 added to a bias."""
    if values.kind == "bias" and 1 in values.levels:
        yield Finding(
            "added-one",
            "an added 1 hides nothing; a hidden cell needs minus infinity",
            cells(values.array == 1),
            "Replace the ones by -inf, or combine boolean masks with & before making numbers",
        )


def positive_fill(values: Values) -> Iterator[Finding]:
    """A fill whose sign was lost."""
    if values.kind == "bias" and values.levels[0] > 1:
        yield Finding(
            "positive-fill",
            f"an added {values.levels[0]:g} draws all attention to the cells that it should hide",
            cells(values.array > 1),
            "Hide with minus infinity: numpy.where(visible, 0, -numpy.inf)",
        )


def weak_fill(values: Values) -> Iterator[Finding]:
    """A fill that a score can overcome; the lowest number of the dtype is the best that it has."""
    weak = [fill for fill in values.fills if fill > LEARNABLE and fill != values.lowest]
    if weak:
        yield weak_fill_of(weak[0], cells(values.at(weak[0])))


def weak_fill_of(fill: float, where: str, meant: str = "") -> Finding:
    """What a fill that scores overcome does.

    Args:
        fill: the negative number.
        where: the cells that hold it, or the call that added it.
        meant: the mask that was intended, if it is known.
    """
    fix = "Use -inf, or replace the score instead of adding to it"
    return Finding(
        "weak-fill",
        f"a fill of {fill:g} is overcome by a score difference of {-fill:g}, where a hidden key weighs as much as a "
        f"visible one; at equal scores {_remains(fill)} of its weight remains, and a wholly hidden row is not hidden"
        f"{_rounded(fill)}",
        where,
        f"{fix}: the mask that was meant is {meant}" if meant else fix,
    )


def _remains(fill: float) -> str:
    power = fill / math.log(10)
    number = f"{math.exp(fill):.1e}" if power > -300 else f"10^{power:.0f}"
    return f"exp({fill:g}) = {number}"


def _rounded(fill: float) -> str:
    """What short formats make of a fill, where they change it."""
    stored = {name: float(rounded(fill, name)) for name in ("float16", "bfloat16")}
    return "".join(f"; in {name} it is {value:g}" for name, value in stored.items() if value != fill)


def finite_fill(values: Values) -> Iterator[Finding]:
    """A strong fill in a bias that is not the lowest number of its dtype."""
    strong = [fill for fill in values.fills if -np.inf < fill <= LEARNABLE and fill != values.lowest]
    if values.kind == "bias" and strong and not any(fill_added_twice(values)):
        yield Finding(
            "finite-fill",
            f"a fill of {strong[0]:g} hides only while another key of its row is visible: a wholly hidden row gets the mean "
            f"of all values, forbidden ones included{_in_formats(strong[0], values.dtype)}",
            cells(values.at(strong[0])),
            "Use -inf, or a boolean mask: replace the score instead of adding to it",
        )


def _in_formats(fill: float, dtype: str) -> str:
    """The formats that turn a finite fill into minus infinity."""
    broken = [name for name in FORMATS if name != dtype.rpartition(".")[2] and not np.isfinite(rounded(fill, name))]
    return f"; it is -inf in {' and '.join(broken)}, where that row is NaN" if broken else ""


def fill_added_twice(values: Values) -> Iterator[Finding]:
    """Two biases added: fills that are sums of fills, or of which some became infinite."""
    where = _sums(values)
    if where is not None:
        yield Finding(
            "fill-added-twice",
            "a fill was added to a fill: sums of large negative numbers overflow to -inf, and a row of them is NaN",
            cells(where),
            "Combine the masks as booleans with &, and make numbers once, at the end",
        )


def _sums(values: Values) -> Bools | None:
    """The cells at which two fills were added."""
    finite = [fill for fill in values.fills if np.isfinite(fill)]
    for total in reversed(finite):
        others = [fill for fill in finite if fill > total]
        # A sum of two fills, or a fill and a rest that hides by itself and less than the fill does.
        if any(_close(values, a + b, total) for a in others for b in others) or any(
            total >= 2 * fill * (1 + BLUR) and total - fill <= HIDES - values.spread for fill in others
        ):
            return values.at(total)
    if finite and np.isneginf(values.fills[-1]):
        return values.at(-np.inf)
    return None


def _close(values: Values, expected: float, fill: float) -> bool:
    name = values.dtype.rpartition(".")[2]
    digits = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-22}.get(name, BLUR)
    return abs(expected - fill) <= 2 * values.spread + digits * abs(fill)


def multiplied_mask(values: Values) -> Iterator[Finding]:
    """Scores times 0 and 1: exact zeros that look like a mask, and no fill."""
    if values.multiplied:
        yield Finding(
            "multiplied-mask",
            "a mask was multiplied with the scores: exp(0) = 1, so the hidden keys keep a share of the softmax",
            cells(values.array == 0),
            "Replace the scores: numpy.where(visible, scores, -numpy.inf)",
        )


MISTAKES: list[Callable[[Values], Iterator[Finding]]] = [
    integer_mask,
    nan,
    zero_one_float,
    added_one,
    positive_fill,
    weak_fill,
    finite_fill,
    fill_added_twice,
    multiplied_mask,
]
