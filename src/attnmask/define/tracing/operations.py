"""What the operators mean for traced values: whole numbers, truth values, and floats as far as they are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnmask.define.language import Const
from attnmask.define.tracing import reals
from attnmask.define.tracing.dtypes import dtype_name
from attnmask.define.tracing.reals import Real
from attnmask.define.tracing.rows import Rows
from attnmask.define.tracing.values import (
    FUNCTIONS,
    Traced,
    arithmetic,
    both,
    common_dtype,
    compared,
    constant,
    either,
    inverted,
    is_truth,
)

HIGHEST_POWER = 4


def value(given: Any) -> Any:
    """An operand as a Traced or a Real."""
    if isinstance(given, (Traced, Real)):
        return given
    if isinstance(given, Rows):
        raise given.refusal()
    if isinstance(given, float):
        return reals.real(given)
    if isinstance(given, (bool, int)):
        return constant(given)
    shape = getattr(given, "shape", None)
    if shape is None or not hasattr(given, "item"):
        raise TypeError(f"{given!r} of type {type(given).__name__} is no whole number or truth value")
    if len(shape):
        raise TypeError(f"an array of shape {tuple(shape)} is used as a whole; look it up by position")
    item, dtype = given.item(), dtype_name(str(given.dtype))
    if isinstance(item, float):
        return reals.real(item)
    return constant(item, "weak" if dtype == "int64" else dtype)  # torch lets a tensor of 8 bits win over it


def whole(given: Any, why: str) -> Traced:
    """An operand that is no float."""
    found: Traced | Real = value(given)
    if isinstance(found, Real):
        raise TypeError(f"{why} takes whole numbers, not floats")
    return found


def _are_truths(*values: Any) -> bool:
    return all(is_truth(each) for each in values)


def sums(op: str) -> Callable[..., Any]:
    """``+``, ``-`` or ``*``."""

    def apply(x: Any, y: Any) -> Any:
        x, y = value(x), value(y)
        if isinstance(x, Real) or isinstance(y, Real):
            return reals.combined_real(op, x, y)
        return _of_truths(op, x, y) if _are_truths(x, y) else arithmetic(op, x, y)

    return apply


def _of_truths(op: str, x: Traced, y: Traced) -> Traced:
    """torch, NumPy and JAX take + of truth values as or, * as and, and refuse -."""
    if op == "-":
        raise TypeError("truth values are subtracted: write x & ~y for 'and not', x ^ y for 'either, not both'")
    return both(x, y) if op == "*" else Traced(either(x, y).node, (0, 1), "bools")


def division(op: str) -> Callable[..., Any]:
    """``//`` or ``%``, which round down."""

    def apply(x: Any, y: Any) -> Any:
        x, y = whole(x, "a division with a whole result"), whole(y, "a division with a whole result")
        if _are_truths(x, y):
            raise TypeError("truth values are divided: write .int() behind each")
        return arithmetic(op, x, y)

    return apply


def div(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    """``/``, or torch.div with its rounding."""
    if rounding_mode is None:
        return reals.divided(value(x), value(y))
    if rounding_mode == "trunc":
        _check_not_negative(whole(x, "a division with a whole result"), "rounding_mode='trunc'")
    return FUNCTIONS["floordiv"](x, y)


def fmod(x: Any, y: Any) -> Any:
    """The remainder of a division that rounds towards 0: that of ``%`` from 0 upwards."""
    _check_not_negative(whole(x, "fmod"), "fmod")
    return FUNCTIONS["mod"](x, y)


def _check_not_negative(x: Traced, name: str) -> None:
    if x.bounds[0] < 0:
        raise TypeError(f"{name} rounds towards 0, and the language rounds down: these may be negative, write // or %")


def power(x: Any, exponent: Any) -> Any:
    """A product of a few equal factors."""
    if isinstance(exponent, bool) or not isinstance(exponent, int) or not 1 <= exponent <= HIGHEST_POWER:
        raise TypeError(f"a power has a number from 1 to {HIGHEST_POWER} as its exponent, not {exponent!r}")
    x = value(x)
    if is_truth(x):
        raise TypeError("a power of a truth value is not in the language: write .int() behind it")
    result = x
    for _ in range(exponent - 1):
        result = FUNCTIONS["mul"](result, x)
    return result


def shift(function: str) -> Callable[..., Any]:
    """``<<`` and ``>>``: times and over a power of two."""

    def apply(x: Any, places: Any) -> Any:
        found = whole(places, "a shift")
        if not isinstance(found.node, Const) or not 0 <= found.node.value <= 30:
            raise TypeError("a shift is by a number from 0 to 30: x << n is x * 2**n, x >> n is x // 2**n")
        x = whole(x, "a shift")
        if is_truth(x):
            raise TypeError("a truth value is shifted: write .int() behind it")
        return FUNCTIONS[function](x, 2 ** int(found.node.value))

    return apply


def bit_and(x: Any, y: Any) -> Any:
    """``&`` of truth values, or of a number and the ones of a remainder."""
    x, y = whole(x, "&"), whole(y, "&")
    if _are_truths(x, y):
        return both(x, y)
    for term, bits in ((x, y), (y, x)):
        if not is_truth(term) and not is_truth(bits) and isinstance(bits.node, Const):
            size = int(bits.node.value) + 1
            if size > 1 and size & (size - 1) == 0:
                common_dtype([term, bits])
                return arithmetic("%", term, constant(size, "wide"))
    raise TypeError("& takes truth values; of numbers only x & (2**n - 1), which is x % 2**n: compare numbers first")


def bit_or(x: Any, y: Any) -> Any:
    """``|`` of truth values."""
    x, y = whole(x, "|"), whole(y, "|")
    if _are_truths(x, y):
        return either(x, y)
    raise TypeError("| of numbers is not in the language: compare them first, (x == 1) | (y == 1)")


def bit_xor(x: Any, y: Any) -> Any:
    """``^`` of truth values."""
    x, y = whole(x, "^"), whole(y, "^")
    if _are_truths(x, y):
        return either(both(x, inverted(y)), both(y, inverted(x)))
    raise TypeError("^ of numbers is not in the language: compare them first, (x == 1) ^ (y == 1)")


def logical(function: Callable[..., Any]) -> Callable[..., Any]:
    """A connective of truth values and of numbers, which are true if they are not 0."""
    return lambda *args: function(*(to_bool(arg) for arg in args))


def to_bool(x: Any) -> Traced:
    """Whether it is not zero."""
    x = value(x)
    truth: Traced = x if is_truth(x) else FUNCTIONS["ne"](x, 0)
    return truth


def comparison(op: str, *, swapped: bool = False, negated: bool = False) -> Callable[..., Traced]:
    """One of the six comparisons."""

    def apply(x: Any, y: Any) -> Traced:
        x, y = (value(y), value(x)) if swapped else (value(x), value(y))
        floats = isinstance(x, Real) or isinstance(y, Real)
        result = reals.compared_real(op, x, y) if floats else compared(op, x, y)
        return inverted(result) if negated else result

    return apply


def negative(x: Any) -> Any:
    """``-x``."""
    x = value(x)
    if is_truth(x):
        raise TypeError("a truth value has no negative: write ~x for not")
    return FUNCTIONS["sub"](0, x)


def absolute(x: Any) -> Any:
    """``abs``."""
    x = value(x)
    return reals.absolute_real(x) if isinstance(x, Real) else x if is_truth(x) else arithmetic("abs", x)


def invert(x: Any) -> Any:
    """``~``: not, or -1 - x of a number."""
    x = whole(x, "~")
    return inverted(x) if is_truth(x) else arithmetic("-", constant(-1), x)


def extreme(op: str, of_truths: Callable[..., Any]) -> Callable[..., Any]:
    """``minimum`` or ``maximum``, of truth values and and or."""

    def apply(x: Any, y: Any) -> Any:
        x, y = whole(x, op), whole(y, op)
        return of_truths(x, y) if _are_truths(x, y) else arithmetic(op, x, y)

    return apply
