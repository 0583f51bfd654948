"""``Traced``: what a user's function is called with, a node of the language that answers as an array of numbers would.

Operators, methods, and the functions of torch and NumPy (which ask their arguments for ``__torch_function__``,
``__array_ufunc__`` and ``__array_function__``) all end in ``FUNCTIONS``, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from attnmask.define.bounds.bounds import RULES, Intervals, Pair
from attnmask.define.language import Apply, Const, Index, Lookup, Node, join, parts_of
from attnmask.define.mask import Mask, Term, check_divisor
from attnmask.define.text.notation import text_of
from attnmask.define.tracing.dtypes import LIMIT, check_range, promoted
from attnmask.define.tracing.paths import Paths

FUNCTIONS: dict[str, Callable[..., Any]] = {}  # functions.py fills it
METHODS: set[str] = set()  # those that are methods of arrays too
OPERATORS = (
    *("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "lshift", "rshift", "and", "or", "xor"),
    *("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"),
)
INTERVALS = Intervals({})
MOST_PARTS = 20_000
PATHS: ContextVar[Paths] = ContextVar("PATHS")  # the choices of the run in progress


@dataclass
class Seen:
    """What a trace came across: frameworks by their arrays and functions, and look-ups, also those without effect."""

    frameworks: set[str] = field(default_factory=set)
    lookups: list[Lookup] = field(default_factory=list)
    sizes: dict[int, tuple[Node, int]] = field(default_factory=dict)  # id of a node -> node, parts in it

    def measure(self, node: Node) -> None:
        """Refuse an expression that doubles again and again, as ``x = x + x`` does."""
        size = 1 + sum(self.sizes.get(id(part), (part, 1))[1] for part in parts_of(node))
        if size > MOST_PARTS:
            raise TypeError(f"the expression has more than {MOST_PARTS} parts")
        self.sizes[id(node)] = (node, size)


SEEN: ContextVar[Seen] = ContextVar("SEEN")


def called(framework: str, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What a framework's function of this name gives for traced values."""
    SEEN.get().frameworks.add(framework)
    known = FUNCTIONS.get(name)
    if known is None:
        raise TypeError(f"{framework} function {name!r} is not in the language")
    return known(*args, **kwargs)


class Value:
    """A value seen while tracing; its operators, unlike a Term's, include == and !=."""

    __slots__ = ()
    device = None  # a traced value lies nowhere

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"a traced position has no attribute {name!r}")
        return lambda *args, **kwargs: FUNCTIONS[name](self, *args, **kwargs)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return called("torch", getattr(function, "__name__", str(function)), args, kwargs or {})

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return called("numpy", ufunc.__name__ + ("" if method == "__call__" else f".{method}"), args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        return called("numpy", function.__name__, args, kwargs)

    def __bool__(self) -> bool:
        return PATHS.get().decide(truth(FUNCTIONS["bool"](self)))

    def __index__(self) -> int:
        raise TypeError(
            "a position is no number yet, and a Python list, range or int() needs that of one fixed batch, query or key: "
            "make the list a tensor or an array before the function, and look it up as tensor[b], tensor[q]"
        )

    __int__ = __float__ = __len__ = __index__

    def __iter__(self) -> Any:
        raise TypeError("a traced position is one number, not several")

    def __hash__(self) -> int:
        raise TypeError("a position is no key of a set or dict: compare it, or look it up in a tensor")

    def __divmod__(self, other: object) -> tuple[Any, Any]:
        return self // other, self % other  # type: ignore[operator]


def _operator(name: str) -> None:
    setattr(Value, f"__{name}__", lambda self, *other: FUNCTIONS[name](self, *other))
    setattr(Value, f"__r{name}__", lambda self, other: FUNCTIONS[name](other, self))


for _name in OPERATORS:
    _operator(_name)


class Traced(Value):
    """A whole number or a truth value: a node, the numbers it can be, and the dtype it has in the user's framework."""

    __slots__ = ("bounds", "dtype_name", "node")

    def __init__(self, node: Node, bounds: Pair, dtype: str) -> None:
        SEEN.get().measure(node)
        self.node = node
        self.bounds = bounds
        self.dtype_name = dtype  # no array has this name: asked for its dtype, a traced value has none

    def __repr__(self) -> str:
        return text_of(self.node)


def position(name: str) -> Traced:
    """An index variable."""
    return Traced(Index(name), (0, LIMIT), "wide")


def traced_truth(node: Node) -> Traced:
    """A mask."""
    return Traced(node, (int(node == Const(True)), int(node != Const(False))), "bool")


def constant(item: int | bool, dtype: str = "weak") -> Traced:
    """A number or truth value that is known."""
    return Traced(Const(item), (int(item), int(item)), "bool" if isinstance(item, bool) else dtype)


def is_truth(value: Any) -> bool:
    """Whether this is a traced truth value (or will be one)."""
    return isinstance(value, bool) or (isinstance(value, Traced) and value.dtype_name in ("bool", "bools"))


def truth(value: Traced) -> Node:
    """The node of a truth value."""
    if not is_truth(value):
        raise TypeError(f"a mask is a truth value, not the number {Term(value.node)!r}")
    return value.node


def number(value: Traced) -> Traced:
    """The value as a whole number; a truth value counts as 0 or 1."""
    if value.dtype_name == "bools":
        raise TypeError(
            "truth values are added: torch, NumPy and JAX take that as 'or', Python counts; "
            "write | for or, or .int() behind each to count"
        )
    if value.dtype_name != "bool":
        return value
    if isinstance(value.node, Const):
        return Traced(Const(int(value.node.value)), value.bounds, "bool")
    return Traced(Apply("where", (value.node, Const(1), Const(0))), value.bounds, "bool")


def common_dtype(values: Sequence[Traced]) -> str:
    """The dtype that the framework computes with; numbers of Python must fit into it."""
    dtype = values[0].dtype_name
    for value in values[1:]:
        dtype = promoted(dtype, value.dtype_name)
    for value in values:
        if value.dtype_name == "weak":
            check_range(dtype, value.bounds)
    return dtype


def arithmetic(op: str, *args: Traced) -> Traced:
    """An operation on whole numbers that gives one."""
    values = [number(arg) for arg in args]
    if op in ("//", "%"):
        check_divisor(Term(values[1].node))
    dtype = common_dtype(values)
    bounds = RULES[op](INTERVALS, *(value.bounds for value in values))
    check_range(dtype, bounds)
    return Traced(_folded(op, values, bounds), bounds, dtype)


def _folded(op: str, values: Sequence[Traced], bounds: Pair) -> Node:
    if all(isinstance(value.node, Const) for value in values):
        return Const(bounds[0])
    return Apply(op, tuple(value.node for value in values))


def compared(op: str, left: Traced, right: Traced) -> Traced:
    """``==``, ``<`` or ``<=`` of whole numbers."""
    plain = _as_truth(left, right) if op == "==" else None
    if plain is not None:
        return plain
    values = [number(left), number(right)]
    common_dtype(values)
    if all(isinstance(value.node, Const) for value in values):
        return constant(bool(RULES[op](INTERVALS, *(value.bounds for value in values))[0]))
    return traced_truth(Apply(op, tuple(value.node for value in values)))


def _as_truth(left: Traced, right: Traced) -> Traced | None:
    """``mask == True``, ``mask == 1`` and ``mask == 0`` without a detour over numbers."""
    for mask, other in ((left, right), (right, left)):
        if mask.dtype_name == "bool" and isinstance(other.node, Const) and other.node.value in (0, 1):
            return mask if other.node.value else inverted(mask)
    return None


def both(left: Traced, right: Traced) -> Traced:
    """``&``; a known operand leaves no trace, as the True that torch's ``and_masks`` starts from."""
    return _joined("&", truth(left), truth(right), Const(True), Const(False))


def either(left: Traced, right: Traced) -> Traced:
    """``|``."""
    return _joined("|", truth(left), truth(right), Const(False), Const(True))


def _joined(op: str, left: Node, right: Node, neutral: Node, deciding: Node) -> Traced:
    if deciding in (left, right):
        return traced_truth(deciding)
    if neutral in (left, right):
        return traced_truth(left if right == neutral else right)
    return traced_truth(left if left == right else join(op, left, right))


def inverted(mask: Traced) -> Traced:
    """``~`` of a truth value."""
    node = truth(mask)
    return constant(not node.value) if isinstance(node, Const) else traced_truth((~Mask(node)).node)


def chosen(condition: Traced, yes: Traced, no: Traced) -> Traced:
    """``where``: of truth values a truth value, else a number."""
    if is_truth(yes) and is_truth(no):
        return _chosen_truth(condition, yes, no)
    values = [number(yes), number(no)]
    dtype = common_dtype(values)
    if isinstance(condition.node, Const):
        picked = values[0 if condition.node.value else 1]
        return Traced(picked.node, picked.bounds, dtype)
    bounds = RULES["where"](INTERVALS, (0, 1), *(value.bounds for value in values))
    return Traced(Apply("where", (truth(condition), *(value.node for value in values))), bounds, dtype)


def _chosen_truth(condition: Traced, yes: Traced, no: Traced) -> Traced:
    if yes.node == Const(True):
        return either(condition, no)
    if no.node == Const(True):
        return either(inverted(condition), yes)
    return either(both(condition, yes), both(no, inverted(condition)))
