"""The language of masks: a closed set of frozen nodes over four index variables.

    Const(5)                     a number, or True / False
    Index("q")                   b batch, h head, q query position, k key position
    Lookup(table, (b, q))        an entry of a named table
    Apply("<=", (k, q))          one of the operations in OPERATIONS
    Named("causal", (), body)    a name for ``body``; it changes nothing but how the mask is shown

Everything else is a walk over these nodes: give ``fold`` an ``Algebra`` that says what each node means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, TypeAlias, TypeVar

from attnmask.define.tables import Table

INDICES = ("b", "h", "q", "k")

# operation -> (what its arguments are, what it gives). Floor division and remainder round down, as in Python,
# and take positive divisors only, so that every engine agrees. > >= != are written with these.
OPERATIONS: dict[str, tuple[str, str]] = {
    "+": ("int", "int"),
    "-": ("int", "int"),
    "*": ("int", "int"),
    "//": ("int", "int"),
    "%": ("int", "int"),
    "minimum": ("int", "int"),
    "maximum": ("int", "int"),
    "abs": ("int", "int"),
    "where": ("bool int int", "int"),
    "==": ("int", "bool"),
    "<": ("int", "bool"),
    "<=": ("int", "bool"),
    "&": ("bool", "bool"),
    "|": ("bool", "bool"),
    "~": ("bool", "bool"),
}


@dataclass(frozen=True, slots=True)
class Const:
    """An integer or a truth value."""

    value: int | bool

    def __eq__(self, other: object) -> bool:  # Const(1) is not Const(True)
        return isinstance(other, Const) and (self.value, type(self.value)) == (other.value, type(other.value))

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True)
class Index:
    """One of the four index variables."""

    name: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """The entry of ``table`` at integer expressions, one for each of its axes."""

    table: Table
    at: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on expressions; ``&`` and ``|`` take two or more."""

    op: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """A name and arguments that stand for ``body``; ``method`` prints the first argument before the name."""

    name: str
    args: tuple[tuple[str | None, Any], ...]  # (keyword or None, int | str | None | tuple | Table | Node)
    body: Node
    method: bool = False


Node: TypeAlias = Const | Index | Lookup | Apply | Named

V = TypeVar("V")


class Algebra(Generic[V]):
    """What each node means to one walk; ``fold`` calls these from the leaves upwards."""

    def const(self, value: int | bool) -> V:
        """A number or truth value."""
        raise NotImplementedError

    def index(self, name: str) -> V:
        """An index variable."""
        raise NotImplementedError

    def lookup(self, table: Table, at: tuple[V, ...]) -> V:
        """A table entry."""
        raise NotImplementedError

    def apply(self, op: str, args: tuple[V, ...]) -> V:
        """An operation."""
        raise NotImplementedError

    def named(self, node: Named, body: V) -> V:
        """A named part: by default just its body."""
        return body


def fold(node: Node, algebra: Algebra[V]) -> V:
    """The value of an expression under an algebra."""
    match node:
        case Const(value):
            return algebra.const(value)
        case Index(name):
            return algebra.index(name)
        case Lookup(table, at):
            return algebra.lookup(table, tuple(fold(part, algebra) for part in at))
        case Apply(op, args):
            return algebra.apply(op, tuple(fold(part, algebra) for part in args))
        case Named(body=body):
            return algebra.named(node, fold(body, algebra))


def parts_of(node: Node) -> tuple[Node, ...]:
    """The expressions that a node is made of, the body of a name among them."""
    match node:
        case Lookup(at=parts) | Apply(args=parts):
            return parts
        case Named(body=body):
            return (body,)
        case _:
            return ()


def nodes(node: Node) -> Iterator[Node]:
    """A node and everything inside it, outermost first."""
    yield node
    for part in parts_of(node):
        yield from nodes(part)


class Rebuild(Algebra[Node]):
    """The walk that gives the same tree back; subclasses change single nodes."""

    def const(self, value: int | bool) -> Node:
        return Const(value)

    def index(self, name: str) -> Node:
        return Index(name)

    def lookup(self, table: Table, at: tuple[Node, ...]) -> Node:
        return Lookup(table, at)

    def apply(self, op: str, args: tuple[Node, ...]) -> Node:
        return Apply(op, args)


class _Variables(Algebra[frozenset[str]]):
    def const(self, value: int | bool) -> frozenset[str]:
        return frozenset()

    def index(self, name: str) -> frozenset[str]:
        return frozenset({name})

    def lookup(self, table: Table, at: tuple[frozenset[str], ...]) -> frozenset[str]:
        return frozenset().union(*at)

    def apply(self, op: str, args: tuple[frozenset[str], ...]) -> frozenset[str]:
        return frozenset().union(*args)


def unnamed(node: Node) -> Node:
    """The expression without its names: what equality compares."""
    return fold(node, Rebuild())


def variables(node: Node) -> frozenset[str]:
    """The index variables that occur in an expression."""
    return fold(node, _Variables())


def sort_of(node: Node) -> str:
    """``"int"`` or ``"bool"``."""
    match node:
        case Const(value):
            return "bool" if isinstance(value, bool) else "int"
        case Index():
            return "int"
        case Lookup(table, _):
            return table.kind
        case Apply(op, _):
            return OPERATIONS[op][1]
        case Named(body=body):
            return sort_of(body)


def join(op: str, left: Node, right: Node) -> Node:
    """``left op right`` for ``&`` and ``|``, flattened: ``(a & b) & c`` and ``a & (b & c)`` are one node."""
    parts = [part.args if isinstance(part, Apply) and part.op == op else (part,) for part in (left, right)]
    return Apply(op, reduce(lambda so_far, more: so_far + more, parts))
