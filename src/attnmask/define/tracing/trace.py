"""``trace``: turn a user's ``lambda b, h, q, k: ...`` into the language by calling it on the index variables.

Any FlexAttention ``mask_mod`` made of operators, look-ups in tensors, ``torch.where``, ``abs``, ``minimum``, ``maximum``
and ``clamp`` can be traced. torch is not imported: its functions come to ``__torch_function__`` and are known by name.
"""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from attnmask.define.language import INDICES, Apply, Const, Index, Node, join, sort_of
from attnmask.define.mask import Mask, Term, lookup, maximum, minimum, same, where
from attnmask.errors import AttnmaskError, MaskError


def trace(function: Callable[..., Any]) -> Mask:
    """The mask that a function of (batch, head, query, key) positions computes.

    >>> import attnmask as am
    >>> am.trace(lambda b, h, q, k: (q >= k) & (q - k < 4))
    (k <= q) & (q - k < 4)
    >>> am.trace(lambda b, h, q, k: q >= k and q - k < 4)
    Traceback (most recent call last):
    attnmask.errors.MaskError: a traced function consists of operators, comparisons, & | ~ and look-ups; got one stopped by 'a traced value has no truth value' at `am.trace(lambda b, h, q, k: q >= k and q - k < 4)`. Write & | ~ for and, or, not, and am.where(condition, x, y) or torch.where for if.

    Raises:
        MaskError: the function does something that is not in the language; the error names the line.
    """
    if not callable(function):
        raise MaskError(
            "trace takes a function of b, h, q, k", repr(function), "Write am.trace(lambda b, h, q, k: q >= k)"
        )
    try:
        result = function(*(Traced(Index(name)) for name in INDICES))
        return Mask(_bool_node(result))
    except Exception as error:
        raise _refused(function, error) from error


class Traced:
    """A value seen while tracing: a term or a mask whose operators, unlike theirs, include == and !=."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def public(self) -> Any:
        """The Term or Mask that it stands for."""
        return Mask(self.node) if sort_of(self.node) == "bool" else Term(self.node)

    def __eq__(self, other: object) -> Any:
        return Traced(same(Term(_int_node(self)), Term(_int_node(other))).node)

    def __ne__(self, other: object) -> Any:
        return ~self.__eq__(other)

    def __hash__(self) -> int:
        return hash(self.node)

    def __and__(self, other: object) -> Traced:
        return _joined("&", _bool_node(self), _bool_node(other), neutral=Const(True))

    def __or__(self, other: object) -> Traced:
        return _joined("|", _bool_node(self), _bool_node(other), neutral=Const(False))

    def __xor__(self, other: object) -> Traced:
        left, right = Mask(_bool_node(self)), Mask(_bool_node(other))
        return Traced(((left - right) | (right - left)).node)

    __rand__ = __and__
    __ror__ = __or__
    __rxor__ = __xor__

    def __invert__(self) -> Traced:
        return Traced((~Mask(_bool_node(self))).node)

    def __neg__(self) -> Traced:
        return Traced((-Term(_int_node(self))).node)

    def __abs__(self) -> Traced:
        return Traced(abs(Term(_int_node(self))).node)

    def __bool__(self) -> bool:
        raise TypeError("a traced value has no truth value")

    def __index__(self) -> int:
        raise TypeError("a traced value is no number yet: look tables up as tensor[q] or am.lookup(table, q)")

    __int__ = __float__ = __index__

    def abs(self) -> Traced:
        """The tensor method."""
        return abs(self)

    def clamp(self, min: Any = None, max: Any = None) -> Traced:
        """The tensor method."""
        return _clamp(self, min, max)

    def logical_and(self, other: object) -> Traced:
        """The tensor method."""
        return self & other

    def logical_or(self, other: object) -> Traced:
        """The tensor method."""
        return self | other

    def logical_not(self) -> Traced:
        """The tensor method."""
        return ~self

    def new_ones(self, size: tuple[int, ...] = (), **options: Any) -> Traced:
        """The tensor method, for the single number that ``and_masks`` starts from."""
        return _single(size, True)

    def new_zeros(self, size: tuple[int, ...] = (), **options: Any) -> Traced:
        """The tensor method, for the single number that ``or_masks`` starts from."""
        return _single(size, False)

    device = None  # a traced value lies nowhere

    def to(self, *where: Any, **options: Any) -> Traced:
        """The tensor method: to move a traced value changes nothing."""
        return self

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", str(function))
        known = TORCH_FUNCTIONS.get(name)
        if known is None:
            raise TypeError(f"torch function {name!r} is not in the language")
        return known(*args, **(kwargs or {}))


def _operator(name: str) -> None:
    """Let Traced answer an arithmetic or ordering operator as Term does."""

    def method(self: Traced, other: object) -> Traced:
        left, right = Term(_int_node(self)), Term(_int_node(other))
        return Traced(getattr(left, name)(right).node)

    setattr(Traced, name, method)


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "floordiv", "mod", "le", "lt", "ge", "gt"):
    _operator(f"__{_name}__")


def _joined(op: str, left: Node, right: Node, neutral: Node) -> Traced:
    """Combine two masks; the constants that torch's ``and_masks`` and ``or_masks`` start from leave no trace."""
    if left == neutral:
        return Traced(right)
    return Traced(left if right == neutral else join(op, left, right))


def _int_node(value: Any) -> Node:
    """The value as an integer expression; a truth value counts as 0 or 1, as in torch."""
    if isinstance(value, Term):
        return value.node
    node = value.node if isinstance(value, (Traced, Mask)) else _constant(value)
    return Apply("where", (node, Const(1), Const(0))) if sort_of(node) == "bool" else node


def _bool_node(value: Any) -> Node:
    node = value.node if isinstance(value, (Traced, Mask)) else _constant(value)
    if sort_of(node) != "bool":
        raise TypeError(f"a mask is a truth value, not the number {Term(node)!r}")
    return node


def _constant(value: Any) -> Node:
    if getattr(value, "shape", ()) not in ((), None) and len(value.shape):
        raise TypeError(f"an array of shape {tuple(value.shape)} is used as a whole; look it up by position")
    item = value.item() if hasattr(value, "item") else value
    if not isinstance(item, (bool, int)):
        raise TypeError(f"{item!r} of type {type(item).__name__} is no whole number or truth value")
    return Const(item)


def _single(shape: tuple[int, ...], value: bool) -> Traced:
    if tuple(shape) != ():
        raise TypeError(f"a new array of shape {tuple(shape)} is not in the language")
    return Traced(Const(value))


def _clamp(value: Any, min: Any = None, max: Any = None) -> Traced:
    term = Term(_int_node(value))
    term = term if min is None else maximum(term, Term(_int_node(min)))
    return Traced((term if max is None else minimum(term, Term(_int_node(max)))).node)


class _Rows:
    """A tensor looked up along its first axes only: ``ids[b]``, waiting for ``[q]``."""

    def __init__(self, tensor: Any, at: tuple[Any, ...]) -> None:
        self.tensor = tensor
        self.at = at

    def __getitem__(self, at: Any) -> Any:
        return _getitem(self.tensor, (*self.at, *(at if isinstance(at, tuple) else (at,))))


def _getitem(tensor: Any, at: Any) -> Any:
    places = at if isinstance(at, tuple) else (at,)
    if len(places) < len(tensor.shape):
        return _Rows(tensor, places)
    return Traced(lookup(tensor, *(Term(_int_node(place)) for place in places)).node)


def _where(condition: Any, x: Any, y: Any) -> Traced:
    mask = Mask(_bool_node(condition))
    pair = [value.public if isinstance(value, Traced) else value for value in (x, y)]
    if all(isinstance(value, (Mask, bool)) for value in pair):
        return Traced(where(mask, *(Mask(_bool_node(value)) for value in pair)).node)
    return Traced(where(mask, *(Term(_int_node(value)) for value in pair)).node)


def _minimum(x: Any, y: Any) -> Traced:
    return Traced(minimum(Term(_int_node(x)), Term(_int_node(y))).node)


def _maximum(x: Any, y: Any) -> Traced:
    return Traced(maximum(Term(_int_node(x)), Term(_int_node(y))).node)


def _scalar_method(name: str) -> Callable[[Any, Any], Any]:
    """An operator whose left side is a tensor of one number."""
    return lambda x, y: getattr(Traced(_constant(x)) if not isinstance(x, Traced) else x, f"__{name}__")(y)


TORCH_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "absolute": abs,
    "clamp": _clamp,
    "clip": _clamp,
    "where": _where,
    "minimum": _minimum,
    "maximum": _maximum,
    "min": _minimum,
    "max": _maximum,
    "logical_and": lambda x, y: Traced(_bool_node(x)) & y,
    "logical_or": lambda x, y: Traced(_bool_node(x)) | y,
    "logical_not": lambda x: ~x,
    "logical_xor": lambda x, y: Traced(_bool_node(x)) ^ y,
    "bitwise_and": lambda x, y: Traced(_bool_node(x)) & y,
    "bitwise_or": lambda x, y: Traced(_bool_node(x)) | y,
    "bitwise_not": lambda x: ~x,
    "__getitem__": _getitem,
}
for _name, _torch_names in {
    "add": ("add", "__add__"),
    "sub": ("sub", "__sub__", "subtract"),
    "rsub": ("rsub", "__rsub__"),
    "mul": ("mul", "__mul__", "multiply"),
    "floordiv": ("floor_divide", "__floordiv__"),
    "mod": ("remainder", "__mod__"),
    "eq": ("eq", "__eq__"),
    "ne": ("ne", "__ne__"),
    "lt": ("lt", "__lt__", "less"),
    "le": ("le", "__le__", "less_equal"),
    "gt": ("gt", "__gt__", "greater"),
    "ge": ("ge", "__ge__", "greater_equal"),
    "and": ("__and__",),
    "or": ("__or__",),
    "xor": ("__xor__",),
}.items():
    TORCH_FUNCTIONS.update(dict.fromkeys(_torch_names, _scalar_method(_name)))


def _refused(function: Callable[..., Any], error: Exception) -> MaskError:
    """Name the line of the user's code that stopped the trace."""
    reason = f"{error.rule}, got {error.got}" if isinstance(error, AttnmaskError) else str(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [
        frame.line or linecache.getline(frame.filename, frame.lineno or 0) for frame in frames if frame.filename == own
    ]
    place = f" at `{lines[-1].strip()}`" if lines and lines[-1].strip() else ""
    return MaskError(
        "a traced function consists of operators, comparisons, & | ~ and look-ups",
        f"one stopped by {reason!r}{place}",
        "Write & | ~ for and, or, not, and am.where(condition, x, y) or torch.where for if",
    )
