"""``Term`` and ``Mask``: the expressions of the language as users write them, with Python's operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attnmask.define.language import INDICES, Apply, Const, Index, Lookup, Node, join, sort_of, unnamed, variables
from attnmask.define.shift import shifted, step_of
from attnmask.define.tables import Table
from attnmask.define.text.notation import text_of
from attnmask.errors import MaskError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from attnmask.define.frame import Frame

# Methods of Mask that later files implement: each puts its function here when it is imported, so that
# this file depends on none of them.
LATER: dict[str, Callable[..., Any]] = {}


class Term:
    """An integer expression such as ``q - k``; comparisons of terms give masks.

    >>> import attnmask as am
    >>> am.q - am.k
    q - k
    >>> am.k <= am.q
    k <= q
    >>> am.q == am.k
    Traceback (most recent call last):
    attnmask.errors.MaskError: terms are compared for equality with same(x, y); got q == k. Write am.same(q, k), or ~am.same(q, k) for 'not equal'.
    """

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def _binary(self, op: str, other: object, *, swapped: bool = False) -> Term:
        pair = (self.node, as_term_node(other))
        return type(self)(Apply(op, pair[::-1] if swapped else pair))

    def __add__(self, other: object) -> Term:
        return self._binary("+", other)

    def __radd__(self, other: object) -> Term:
        return self._binary("+", other, swapped=True)

    def __sub__(self, other: object) -> Term:
        return self._binary("-", other)

    def __rsub__(self, other: object) -> Term:
        return self._binary("-", other, swapped=True)

    def __mul__(self, other: object) -> Term:
        return self._binary("*", other)

    def __rmul__(self, other: object) -> Term:
        return self._binary("*", other, swapped=True)

    def __floordiv__(self, other: object) -> Term:
        check_divisor(other)
        return self._binary("//", other)

    def __mod__(self, other: object) -> Term:
        check_divisor(other)
        return self._binary("%", other)

    def __neg__(self) -> Term:
        return self._binary("-", 0, swapped=True)

    def __abs__(self) -> Term:
        return type(self)(Apply("abs", (self.node,)))

    def _compare(self, op: str, other: object, *, swapped: bool = False) -> Mask:
        pair = (self.node, as_term_node(other))
        return Mask(Apply(op, pair[::-1] if swapped else pair))

    def __le__(self, other: object) -> Mask:
        return self._compare("<=", other)

    def __lt__(self, other: object) -> Mask:
        return self._compare("<", other)

    def __ge__(self, other: object) -> Mask:
        return self._compare("<=", other, swapped=True)

    def __gt__(self, other: object) -> Mask:
        return self._compare("<", other, swapped=True)

    def __eq__(self, other: object) -> Any:
        raise MaskError(
            "terms are compared for equality with same(x, y)",
            f"{self!r} == {other!r}",
            f"Write am.same({self!r}, {other!r}), or ~am.same({self!r}, {other!r}) for 'not equal'",
        )

    def __ne__(self, other: object) -> Any:
        return self.__eq__(other)

    def __hash__(self) -> int:
        return hash(self.node)

    def __bool__(self) -> bool:
        raise MaskError(
            "a term has no truth value",
            f"bool({self!r})",
            "Compare it (k <= q) and combine masks with & | ~, not with and, or, not",
        )

    def __repr__(self) -> str:
        return text_of(self.node)


def as_term_node(value: object) -> Node:
    """The node of a term or of a whole number."""
    if isinstance(value, Term):
        return value.node
    if isinstance(value, int) and not isinstance(value, bool):
        return Const(value)
    if isinstance(value, float) or not hasattr(value, "__index__") or isinstance(value, bool):
        raise MaskError(
            "a term is built from whole numbers and terms",
            f"{value!r} of type {type(value).__name__}",
            "Write an integer, b, h, q, k, or lookup(table, ...)",
        )
    return Const(value.__index__())


def check_divisor(value: object) -> None:
    """Refuse a divisor that is not known to be positive."""
    node = as_term_node(value)
    positive = (isinstance(node, Const) and node.value > 0) or (isinstance(node, Lookup) and node.table.bounds[0] > 0)
    if not positive:
        raise MaskError(
            "a divisor is a positive number, or a table of positive numbers",
            repr(value),
            "Divide by a constant of at least 1",
        )


class Mask:
    """What each query may attend to: a frozen boolean expression over batch, head, query and key position.

    ``True`` means visible. Masks combine with ``&``, ``|``, ``~`` and ``-`` (and not), compare with ``==`` by
    structure, hash, and print as an expression that reads back.

    >>> import attnmask as am
    >>> mask = am.causal() & am.padding([3, 2])
    >>> mask
    causal() & padding([3, 2])
    >>> am.parse(repr(mask)) == mask
    True
    >>> bool(mask)
    Traceback (most recent call last):
    attnmask.errors.MaskError: a mask has no truth value; got bool(causal() & padding([3, 2])). Combine masks with & | ~, not with and, or, not; compare them with == or am.equivalent.
    """

    __slots__ = ("_hash", "_plain", "node")

    def __init__(self, node: Node) -> None:
        if sort_of(node) != "bool":
            raise MaskError("a mask is a truth value per position", f"the number {Term(node)!r}", "Compare it: k <= q")
        self.node = node
        self._plain: Node | None = None
        self._hash: int | None = None

    @property
    def plain(self) -> Node:
        """The expression without names; equality and hash are its."""
        if self._plain is None:
            self._plain = unnamed(self.node)
        return self._plain

    @property
    def depends_on(self) -> frozenset[str]:
        """The index variables that occur: a subset of ``{"b", "h", "q", "k"}``."""
        return variables(self.node)

    def __and__(self, other: object) -> Mask:
        if hasattr(other, "rules"):  # a selection, which knows how it joins a mask
            return NotImplemented
        return Mask(join("&", self.node, _mask_node("&", self, other)))

    def __or__(self, other: object) -> Mask:
        if hasattr(other, "rules"):
            return NotImplemented
        return Mask(join("|", self.node, _mask_node("|", self, other)))

    def __sub__(self, other: object) -> Mask:
        if hasattr(other, "rules"):
            return NotImplemented
        return Mask(join("&", self.node, (~Mask(_mask_node("-", self, other))).node))

    def __invert__(self) -> Mask:
        if isinstance(self.node, Apply) and self.node.op == "~":
            return Mask(self.node.args[0])
        return Mask(Apply("~", (self.node,)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.plain == other.plain

    def __hash__(self) -> int:
        if self._hash is None:  # every call of attention looks masks up
            self._hash = hash(self.plain)
        return self._hash

    def __bool__(self) -> bool:
        raise MaskError(
            "a mask has no truth value",
            f"bool({self!r})",
            "Combine masks with & | ~, not with and, or, not; compare them with == or am.equivalent",
        )

    def __repr__(self) -> str:
        return text_of(self.node)

    def __str__(self) -> str:
        return text_of(self.node, short=True)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Mask, (self.node,))

    def shift(self, q: Any = 0, k: Any = 0) -> Mask:
        """The same mask seen from coordinates that start at query ``q`` and key ``k`` of the old ones.

        Position (q', k') of the result is position (q' + q, k' + k) of this mask.

        >>> import attnmask as am
        >>> am.causal().shift(q=3).dense(am.Frame(1, 5, q_start=0))[0, 0].astype(int)
        array([[1, 1, 1, 1, 0]])

        In a ragged batch every sequence has its own start: one query after caches of 3 and of 1 tokens is

        >>> am.causal().shift(q=[3, 1]).dense(am.Frame(1, 5, q_start=0))[:, 0, 0].astype(int)
        array([[1, 1, 1, 1, 0],
               [1, 1, 0, 0, 0]])

        Args:
            q: positions, one number or one per sequence (batch,).
            k: positions, one number or one per sequence (batch,).
        """
        return Mask(shifted(self.node, {"q": step_of(q), "k": step_of(k)}))

    def within(self, documents: Any) -> Mask:
        """This mask inside each document, positions counted from the document's own start.

        ``self(q - start[q], k - start[k]) & (ids[q] == ids[k])``, start[p] being where the document of p begins.

        >>> import attnmask as am
        >>> print(am.show(am.chunked(2).within(am.documents(lengths=[3, 2])), 5).text())
        chunked(2).within(documents(lengths=[3, 2])): 5 queries x 5 keys, 9 of 25 visible (36.0 %)
            0 1 2 3 4
          0 ■ ■ · · ·
          1 ■ ■ · · ·
          2 · · ■ · ·
          3 · · · ■ ■
          4 · · · ■ ■

        For ``causal`` and ``window``, which only compare positions, ``mask & documents`` is the same and shorter.

        Args:
            documents: a ``documents()`` mask, or its ids (kv_len,) or (batch, kv_len); each document in one piece.
        """
        mask: Mask = LATER["within"](self, documents)
        return mask

    def to_json(self) -> str:
        """The mask as JSON text; ``Mask.from_json`` reads it back."""
        return str(LATER["to_json"](self))

    @classmethod
    def from_json(cls, text: str) -> Mask:
        """The mask that ``to_json`` wrote."""
        mask: Mask = LATER["from_json"](text)
        return mask

    def dense(self, frame: Frame | int) -> NDArray[np.bool_]:
        """All positions as a boolean NumPy array (batch, heads, q_len, kv_len), True = visible.

        The batch and heads axes have size 1 where nothing varies along them.

        >>> import attnmask as am
        >>> am.window(1).dense(3)[0, 0].astype(int)
        array([[1, 0, 0],
               [1, 1, 0],
               [0, 1, 1]])
        """
        array: NDArray[np.bool_] = LATER["dense"](self, frame)
        return array

    def count(self, frame: Frame | int) -> int:
        """The number of visible (query, key) pairs in ``dense(frame)``.

        >>> import attnmask as am
        >>> am.causal().count(4)
        10
        """
        return int(LATER["count"](self, frame))

    def density(self, frame: Frame | int) -> float:
        """The visible share of all pairs, 0.0 to 1.0.

        >>> import attnmask as am
        >>> am.causal().density(4)
        0.625
        """
        return float(LATER["density"](self, frame))

    def empty_rows(self, frame: Frame | int) -> NDArray[np.bool_]:
        """Which queries see no key at all: boolean (batch, heads, q_len).

        >>> import attnmask as am
        >>> am.causal().empty_rows(am.Frame(3, 2, align="end"))
        array([[[ True, False, False]]])
        """
        rows: NDArray[np.bool_] = LATER["empty_rows"](self, frame)
        return rows


def _mask_node(op: str, left: Mask, other: object) -> Node:
    if isinstance(other, Mask):
        return other.node
    raise MaskError(
        "masks combine with masks",
        f"({left}) {op} {type(other).__name__} {str(other)[:60]!r}",
        "Write am.table(array) for a boolean array, am.same(x, y) for equal positions, am.trace(f) for a function",
    )


def same(x: Term | int, y: Term | int) -> Mask:
    """Visible where two terms are equal.

    >>> import attnmask as am
    >>> am.same(am.q % 2, am.k % 2)
    same(q % 2, k % 2)
    """
    return Mask(Apply("==", (as_term_node(x), as_term_node(y))))


def lookup(table: Any, *at: Term | int) -> Any:
    """The entry of a table at terms: a ``Term`` for integers, a ``Mask`` for booleans.

    The table is any array or nested list; the number of terms is its number of axes.

    >>> import attnmask as am
    >>> am.lookup([5, 2, 9], am.q) < am.k
    lookup([5, 2, 9], q) < k
    """
    table = Table.of(table)
    if len(at) != len(table.shape):
        raise MaskError(
            "a look-up names one position per axis of its table",
            f"{len(at)} positions for a table of shape {table.shape}",
            f"Give {len(table.shape)} terms",
        )
    node = Lookup(table, tuple(as_term_node(part) for part in at))
    return Mask(node) if table.kind == "bool" else Term(node)


def minimum(x: Term | int, y: Term | int) -> Term:
    """The smaller of two terms."""
    return Term(Apply("minimum", (as_term_node(x), as_term_node(y))))


def maximum(x: Term | int, y: Term | int) -> Term:
    """The larger of two terms."""
    return Term(Apply("maximum", (as_term_node(x), as_term_node(y))))


def where(condition: Mask, x: Any, y: Any) -> Any:
    """``x`` where the condition holds, else ``y``: a ``Term`` for terms, a ``Mask`` for masks.

    >>> import attnmask as am
    >>> am.where(am.causal(), am.q, 0) < 3
    where(causal(), q, 0) < 3
    """
    if isinstance(x, Mask) and isinstance(y, Mask):
        return (condition & x) | (y - condition)
    node = _mask_node("where", condition, condition)
    return Term(Apply("where", (node, as_term_node(x), as_term_node(y))))


# The index variables as users write them.
b, h, q, k = (Term(Index(name)) for name in INDICES)
