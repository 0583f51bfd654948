"""What methods and functions of torch, NumPy and JAX mean for traced values, by their names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attnmask.define.language import Apply, Const, Lookup
from attnmask.define.tables import Table
from attnmask.define.tracing import operations as of
from attnmask.define.tracing import reals
from attnmask.define.tracing.dtypes import FLOATS, RANGES, check_range, dtype_name
from attnmask.define.tracing.operations import to_bool, value
from attnmask.define.tracing.reals import Real
from attnmask.define.tracing.rows import Rows, rows_of
from attnmask.define.tracing.values import (
    FUNCTIONS,
    METHODS,
    OPERATORS,
    SEEN,
    Traced,
    Value,
    both,
    chosen,
    compared,
    constant,
    either,
    inverted,
    is_truth,
    number,
    traced_truth,
)

MOST_EQUALITIES, LONGEST_TABLE = 8, 2**20


def _clamp(x: Any, min: Any = None, max: Any = None, **names: Any) -> Any:
    low, high = names.pop("a_min", min), names.pop("a_max", max)
    if names:
        raise TypeError(f"clamp does not take {', '.join(names)}")
    x = x if low is None else FUNCTIONS["maximum"](x, low)
    return x if high is None else FUNCTIONS["minimum"](x, high)


def _where(condition: Any, x: Any = None, y: Any = None, *, input: Any = None, other: Any = None) -> Any:
    mask = of.whole(condition, "where")
    if not is_truth(mask):
        raise TypeError("where chooses by a truth value: compare the number first")
    yes, no = value(input if x is None else x), value(other if y is None else y)
    if isinstance(yes, Real) or isinstance(no, Real):
        return reals.chosen_real(mask, yes, no)
    return chosen(mask, yes, no)


def _isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Any:
    x = number(of.whole(elements, "isin"))
    if isinstance(test_elements, Value):
        raise TypeError("isin takes a table that does not depend on positions as its second argument")
    table = Table.of(test_elements)
    found = _member(x, sorted(set(table.items)))
    return inverted(found) if invert else found


def _member(x: Traced, members: list[int]) -> Traced:
    """Few members are compared one by one; of many, a table says which they are."""
    if len(members) <= MOST_EQUALITIES:
        found = constant(False)
        for member in members:
            found = either(found, compared("==", x, constant(member, "int64")))
        return found
    low, high = members[0], members[-1]
    if high - low >= LONGEST_TABLE:
        raise TypeError(f"isin with members from {low} to {high} is too wide for a table")
    known = set(members)
    table = Table.of([place in known for place in range(low, high + 1)])
    place = Apply("minimum", (Apply("maximum", (x.node, Const(low))), Const(high)))
    inside = traced_truth(Lookup(table, (place if low == 0 else Apply("-", (place, Const(low))),)))
    return both(both(compared("<=", constant(low, "wide"), x), compared("<=", x, constant(high, "wide"))), inside)


def _cast(name: str) -> Callable[..., Any]:
    return lambda x: cast(x, name)


def cast(x: Any, name: str) -> Any:
    """A value in another dtype; numbers that would wrap around there are refused."""
    if isinstance(x, Rows):
        return x.cast(name)
    x = value(x)
    if name == "bool":
        return to_bool(x)
    if name in FLOATS:
        return reals.real(x)
    if name not in RANGES:
        raise TypeError(f"a cast to {name} is not in the language: write .long(), .bool() or .float()")
    if isinstance(x, Real):
        if any(isinstance(leaf, float) or leaf[0].bounds[0] < 0 for _, leaf in x.cases):
            raise TypeError("a cast of floats to whole numbers rounds towards 0: write // on whole numbers")
        x = reals.floored(x)
    whole = number(x)
    if name == "int64":
        name = "wide" if whole.dtype_name == "wide" else _longest()
    check_range(name, whole.bounds)
    return Traced(whole.node, whole.bounds, name)


def _longest() -> str:
    """JAX has no 64 bits unless it is told so, and takes int64 as int32."""
    jax = sys.modules.get("jax")
    return "int32" if jax is not None and "jax" in SEEN.get().frameworks and not jax.config.jax_enable_x64 else "int64"


def _to(x: Any, *where: Any, dtype: Any = None, **options: Any) -> Any:
    """A dtype casts; a device, or a tensor whose device and dtype are meant, is left to the check."""
    names = [dtype_name(place) for place in (*where, dtype) if _is_dtype(place)]
    return cast(x, names[0]) if names else x


def _is_dtype(place: Any) -> bool:
    if isinstance(place, str) or place is None:
        return isinstance(place, str) and dtype_name(place) in {*RANGES, *FLOATS, "bool"}
    return isinstance(place, type) or type(place).__name__ in ("dtype", "type")


def _type(x: Any, dtype: Any, **options: Any) -> Any:
    return cast(x, dtype_name(dtype))


def _getitem(tensor: Any, at: Any) -> Any:
    if isinstance(tensor, Traced) and at in ((), Ellipsis):
        return tensor
    if isinstance(tensor, (Traced, Real)):
        raise TypeError("a position is one number: it has nothing to look up in it")
    return (tensor if isinstance(tensor, Rows) else rows_of(tensor))[at]


def _single(known: bool) -> Callable[..., Any]:
    def new(x: Any, size: tuple[int, ...] = (), **options: Any) -> Traced:
        if tuple(size) != ():
            raise TypeError(f"a new array of shape {tuple(size)} is not in the language")
        return constant(known)

    return new


def _filled(known: int) -> Callable[..., Any]:
    def like(x: Any, dtype: Any = None, **options: Any) -> Any:
        return cast(constant(known), "bool" if is_truth(value(x)) else "int64") if dtype is None else _to(known, dtype)

    return like


def _squeeze(x: Any, dim: Any = None, axis: Any = None) -> Any:
    return x.squeezed(axis if dim is None else dim) if isinstance(x, Rows) else value(x)


def _reshape(x: Any, *shape: Any) -> Any:
    if len(shape) == 1 and _is_dtype(shape[0]):
        raise TypeError("view(dtype) looks at the bytes: write .to(dtype)")
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    if isinstance(x, Rows):
        return x.reshaped(sizes)
    if sizes != ():
        raise TypeError(f"a position is one number, which reshape cannot give the shape {sizes}")
    return value(x)


def _take(table: Any, at: Any, axis: int | None = None, **options: Any) -> Any:
    rows = table if isinstance(table, Rows) else rows_of(table)
    if axis is None:
        return rows.reshaped((-1,))[at]
    return rows[(*[slice(None)] * (axis % max(len(rows.shape), 1)), at)]


def _ceil(x: Any) -> Any:
    return reals.real(of.negative(reals.floored(of.negative(x))))


def _refused(name: str, fix: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"{name!r} is not in the language: {fix}")

    return refuse


ONE_NUMBER = "a mask says of one query and one key whether it is visible; combine truth values with & and |"
NO_NUMBER = "it reads the number of one fixed batch, query or key; compare what is looked up, as in k < lengths[b]"
CASTS = {"bool": "bool", "int": "int32", "long": "int64", "short": "int16", "char": "int8", "byte": "uint8"}
MEANINGS: dict[str, tuple[Callable[..., Any], str]] = {  # its name as an operator or method: meaning, other names
    "add": (of.sums("+"), ""),
    "sub": (of.sums("-"), "subtract"),
    "mul": (of.sums("*"), "multiply"),
    "floordiv": (of.division("//"), "floor_divide"),
    "mod": (of.division("%"), "remainder"),
    "truediv": (of.div, "div divide true_divide"),
    "fmod": (of.fmod, ""),
    "pow": (of.power, "power"),
    "square": (lambda x: of.power(x, 2), ""),
    "lshift": (of.shift("mul"), "left_shift bitwise_left_shift"),
    "rshift": (of.shift("floordiv"), "right_shift bitwise_right_shift"),
    "and": (of.bit_and, "bitwise_and"),
    "or": (of.bit_or, "bitwise_or"),
    "xor": (of.bit_xor, "bitwise_xor"),
    "logical_and": (of.logical(both), ""),
    "logical_or": (of.logical(either), ""),
    "logical_xor": (of.logical(of.bit_xor), ""),
    "logical_not": (of.logical(inverted), ""),
    "eq": (of.comparison("=="), "equal"),
    "ne": (of.comparison("==", negated=True), "not_equal"),
    "lt": (of.comparison("<"), "less"),
    "le": (of.comparison("<="), "less_equal"),
    "gt": (of.comparison("<", swapped=True), "greater"),
    "ge": (of.comparison("<=", swapped=True), "greater_equal"),
    "neg": (of.negative, "negative"),
    "pos": (value, "positive"),
    "abs": (of.absolute, "absolute"),
    "invert": (of.invert, "bitwise_not bitwise_invert"),
    "minimum": (of.extreme("minimum", both), "min fmin"),
    "maximum": (of.extreme("maximum", either), "max fmax"),
    "clamp": (_clamp, "clip"),
    "clamp_min": (lambda x, min: _clamp(x, min), ""),
    "clamp_max": (lambda x, max: _clamp(x, None, max), ""),
    "where": (_where, "select"),
    "isin": (_isin, ""),
    "isfinite": (reals.is_finite, ""),
    "isinf": (reals.is_infinite, ""),
    "isnan": (reals.is_nan, ""),
    "floor": (lambda x: reals.real(reals.floored(value(x))), ""),
    "ceil": (_ceil, ""),
    **{name: (_cast(dtype), "") for name, dtype in {**CASTS, "float": "float32", "double": "float64"}.items()},
    "to": (_to, ""),
    "astype": (_type, "type"),
    "getitem": (_getitem, ""),
    "take": (_take, ""),
    "new_ones": (_single(True), ""),
    "new_zeros": (_single(False), ""),
    "ones_like": (_filled(1), ""),
    "zeros_like": (_filled(0), ""),
    "squeeze": (_squeeze, ""),
    "reshape": (_reshape, "view"),
    "flatten": (lambda x: _reshape(x, -1), "ravel"),
    "clone": (lambda x, **options: x, "detach contiguous cpu cuda copy"),
    **{name: (_refused(name, ONE_NUMBER), "") for name in ("any", "all", "sum", "stack", "cat", "concatenate", "mean")},
    **{name: (_refused(name, NO_NUMBER), "") for name in ("item", "tolist", "numpy")},
    **{name: (_refused(name, "write tensor[q]"), "") for name in ("gather", "index_select", "take_along_dim")},
}
NO_METHODS = {
    *("where", "select", "isin", "ones_like", "zeros_like", "stack", "cat", "concatenate", "getitem"),
    *("and", "or", "xor", "invert", "floordiv", "truediv", "mod", "lshift", "rshift", "pos"),
}


def _register() -> None:
    for name, (meaning, others) in MEANINGS.items():
        names = (name, *others.split())
        FUNCTIONS.update(dict.fromkeys(names, meaning))
        METHODS.update(set(names) - NO_METHODS)
        if name in OPERATORS or name == "getitem":
            FUNCTIONS[f"__{name}__"] = meaning
            FUNCTIONS[f"__r{name}__"] = _swapped(meaning)
    FUNCTIONS["rsub"] = FUNCTIONS["__rsub__"]


def _swapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, y: function(y, x)


_register()
