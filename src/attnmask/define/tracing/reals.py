"""``Real``: fractions and infinities seen while tracing, as far as comparing them is exact.

``q < 2.5`` and ``(q - k) / 2 <= 3`` are comparisons of whole numbers: ``2 * q < 5``, ``q - k <= 6``; and
``torch.where(q >= k, 0.0, -inf) == 0`` is ``q >= k``. A Real is a list of cases, a condition and a value each;
a value is a traced whole number over a divisor, or an infinity or nan. Floats of 32 bits are exact for sums and
products of halves, quarters, ...; quotients by other numbers are rounded, so that they may only be compared with
a constant, whose rounding is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

from attnmask.define.language import Const
from attnmask.define.tracing.dtypes import LIMIT
from attnmask.define.tracing.values import (
    Traced,
    Value,
    arithmetic,
    both,
    chosen,
    compared,
    constant,
    either,
    inverted,
    number,
)

Leaf: TypeAlias = "tuple[Traced, int] | float"  # whole number over divisor, or inf, -inf, nan
Case: TypeAlias = tuple[Traced, Leaf]
NEAR = 2**22  # constants times divisors up to here: float32 tells them from their neighbours
EXACT = 4 * LIMIT  # of halves and quarters too


class Real(Value):
    """A number with a fraction, or several by cases."""

    __slots__ = ("cases",)

    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases


def real(value: Any) -> Real:
    """A float of Python, or a traced whole number, as a Real."""
    if isinstance(value, Real):
        return value
    if isinstance(value, Traced):
        whole = number(value)
        return Real([(constant(True), (Traced(whole.node, whole.bounds, "wide"), 1))])
    if not math.isfinite(value):
        return Real([(constant(True), float(value))])
    exact = Fraction(repr(float(value)))
    return Real([(constant(True), (constant(exact.numerator, "wide"), exact.denominator))])


def chosen_real(condition: Traced, yes: Any, no: Any) -> Real:
    """``where`` with a float among its values."""
    halves = ((condition, real(yes)), (inverted(condition), real(no)))
    return Real([(both(half, case), leaf) for half, value in halves for case, leaf in value.cases])


def compared_real(op: str, left: Any, right: Any) -> Traced:
    """``==``, ``<`` or ``<=``."""
    return _any_case(lambda x, y: _compared_leaves(op, x, y), real(left), real(right))


def _any_case(test: Callable[..., Traced], *values: Real) -> Traced:
    found = constant(False)
    pairs: list[tuple[Traced, tuple[Leaf, ...]]] = [(constant(True), ())]
    for value in values:
        pairs = [(both(so_far, case), (*leaves, leaf)) for so_far, leaves in pairs for case, leaf in value.cases]
    for condition, leaves in pairs:
        found = either(found, both(condition, test(*leaves)))
    return found


def _compared_leaves(op: str, x: Leaf, y: Leaf) -> Traced:
    if isinstance(x, float) or isinstance(y, float):
        pair = [leaf if isinstance(leaf, float) else 0.0 for leaf in (x, y)]
        return constant({"==": pair[0] == pair[1], "<": pair[0] < pair[1], "<=": pair[0] <= pair[1]}[op])
    _check_comparison(x, y)
    (left, below), (right, under) = x, y
    common = math.lcm(below, under)
    return compared(op, _times(left, common // below), _times(right, common // under))


def _check_comparison(*leaves: tuple[Traced, int]) -> None:
    """Floats must tell apart what whole numbers do: near a small constant they do, else while nothing is rounded."""
    constants = [abs(value.bounds[0]) for value, _ in leaves if isinstance(value.node, Const)]
    if len(constants) == 2 or (constants and constants[0] * math.prod(divisor for _, divisor in leaves) < NEAR):
        return
    if any(_rounded(divisor) for _, divisor in leaves):
        raise TypeError("floats are rounded here: multiply both sides by the divisor, and compare whole numbers")
    for value, _ in leaves:
        _check_exact(value)


def _check_exact(value: Traced) -> None:
    if not isinstance(value.node, Const) and max(map(abs, value.bounds)) > EXACT:
        raise TypeError("floats of this size are rounded: compute with whole numbers")


def _rounded(divisor: int) -> bool:
    return bool(divisor & (divisor - 1))  # no power of two


def _times(value: Traced, factor: int) -> Traced:
    return value if factor == 1 else arithmetic("*", value, constant(factor))


def combined_real(op: str, left: Any, right: Any) -> Real:
    """``+``, ``-`` or ``*``, where it is exact."""
    return Real(
        [
            (both(case, other), _combined_leaves(op, x, y))
            for case, x in real(left).cases
            for other, y in real(right).cases
            if both(case, other).node != Const(False)
        ]
    )


def _combined_leaves(op: str, x: Leaf, y: Leaf) -> Leaf:
    if isinstance(x, float) or isinstance(y, float):
        return _with_infinity(op, x, y)
    (left, below), (right, under) = x, y
    if _rounded(below) or _rounded(under):
        raise TypeError("floats are rounded here: compute with whole numbers, or with halves and quarters")
    if op == "*":
        return _product(left, right), below * under
    for value in (left, right):
        _check_exact(value)
    common = max(below, under)  # both are powers of two
    return arithmetic(op, _times(left, common // below), _times(right, common // under)), common


def _product(left: Traced, right: Traced) -> Traced:
    if isinstance(right.node, Const):
        return _times(left, int(right.node.value))
    return _times(right, int(left.node.value)) if isinstance(left.node, Const) else arithmetic("*", left, right)


def _with_infinity(op: str, x: Leaf, y: Leaf) -> float:
    if op == "*":
        raise TypeError("a product with an infinity is not in the language: compare first")
    first, second = (leaf if isinstance(leaf, float) else 0.0 for leaf in (x, y))
    return first + second if op == "+" else first - second


def divided(left: Any, right: Any) -> Real:
    """``/`` by a constant above zero."""
    divisor = real(right).cases[0][1]
    if len(real(right).cases) > 1 or isinstance(divisor, float) or not isinstance(divisor[0].node, Const):
        raise TypeError("a position is divided by a constant only: multiply both sides of the comparison instead")
    above, below = int(divisor[0].node.value), divisor[1]
    if above <= 0 or _rounded(below):
        raise TypeError("a position is divided by a whole number above 0, or by a half, a quarter, ...")
    return Real([(case, _quotient(leaf, above, below)) for case, leaf in real(left).cases])


def _quotient(leaf: Leaf, above: int, below: int) -> Leaf:
    if isinstance(leaf, float):
        return leaf
    value, divisor = leaf
    if _rounded(divisor):
        raise TypeError("floats are rounded here: divide once, by the product")
    common = math.gcd(above, below)
    return _times(value, below // common), divisor * above // common


def is_finite(value: Any) -> Traced:
    """``isfinite``."""
    return _any_case(lambda leaf: constant(not isinstance(leaf, float)), real(value))


def is_infinite(value: Any) -> Traced:
    """``isinf``."""
    return _any_case(lambda leaf: constant(isinstance(leaf, float) and math.isinf(leaf)), real(value))


def is_nan(value: Any) -> Traced:
    """``isnan``."""
    return _any_case(lambda leaf: constant(isinstance(leaf, float) and math.isnan(leaf)), real(value))


def floored(value: Any) -> Traced:
    """The largest whole number that is not above it, as a whole number."""
    whole: Traced | None = None
    for condition, leaf in real(value).cases:
        if isinstance(leaf, float):
            raise TypeError("an infinity is no whole number")
        value_, divisor = leaf
        part = value_ if divisor == 1 else arithmetic("//", value_, constant(divisor))
        whole = part if whole is None else chosen(condition, part, whole)
    if whole is None:
        raise TypeError("a float without cases")
    return whole


def absolute_real(value: Any) -> Real:
    """``abs``."""
    return Real(
        [
            (case, abs(leaf) if isinstance(leaf, float) else (arithmetic("abs", leaf[0]), leaf[1]))
            for case, leaf in real(value).cases
        ]
    )
