"""Reading an expression as the left side of a law: what each letter of the law stands for.

law           (x <= c) & (x <= d)   ->   x <= minimum(c, d)
expression    (q - k <= 5) & (q - k <= 3)
letters       x = q - k,  c = 5,  d = 3
gives         q - k <= 3
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeAlias

from attnmask.define.language import INDICES, Apply, Const, Index, Named, Node
from attnmask.define.normal.laws import LAWS, NUMBERS, Law

Binding: TypeAlias = dict[str, Node]
Opposite: TypeAlias = Callable[[Node], Node]


@lru_cache(maxsize=1024)
def candidates(op: str, heads: tuple[str, ...]) -> tuple[Law, ...]:
    """The laws for an operation whose arguments have these heads: the others need not be tried."""
    orders = {heads, heads[::-1]} if op in ("&", "|", "minimum", "maximum") else {heads}
    return tuple(law for law in LAWS if law.left.op == op and any(_may_have(law.left.args, each) for each in orders))


def _may_have(patterns: tuple[Node, ...], heads: tuple[str, ...]) -> bool:
    return all(head(pattern) in ("", found) for pattern, found in zip(patterns, heads, strict=True))


def head(node: Node) -> str:
    """What an expression is at its top; empty for a letter of a law, and for ``~A``, which is read by its meaning."""
    match node:
        case Named() | Apply("~", (Named(),)):
            return ""
        case Index(name) if name not in INDICES and name not in NUMBERS:
            return ""
        case Apply(op, _):
            return op
        case Const():
            return "number"
    return "number" if isinstance(node, Index) and node.name in NUMBERS else type(node).__name__


def all_match(patterns: tuple[Node, ...], node: Apply, bound: Binding, opposite: Opposite) -> Iterator[Binding]:
    """Every way to read the arguments of the node as the patterns, with the letters already bound."""
    for args in _arrangements(node):
        yield from _each_matches(patterns, args, bound, opposite)


def _matches(pattern: Node, node: Node, bound: Binding, opposite: Opposite) -> Iterator[Binding]:
    """Every way to read the node as the pattern."""
    match pattern:
        case Const():
            if pattern == node:
                yield bound
        case Index(name) | Named(name=name):
            if bound.get(name, node) == node and (name not in NUMBERS or isinstance(node, Const)):
                yield {**bound, name: node}
        case Apply("~", (Named(name=name),)) if name in bound:
            if opposite(bound[name]) == node:
                yield bound
        case Apply(op, args) if isinstance(node, Apply) and node.op == op:
            yield from all_match(args, node, bound, opposite)


def _each_matches(
    patterns: tuple[Node, ...], args: tuple[Node, ...], bound: Binding, opposite: Opposite
) -> Iterator[Binding]:
    if not patterns:
        yield bound
        return
    for first in _matches(patterns[0], args[0], bound, opposite):
        yield from _each_matches(patterns[1:], args[1:], first, opposite)


def _arrangements(node: Apply) -> Iterator[tuple[Node, ...]]:
    """The arguments in all orders, where order does not matter; of more than two, each one and the rest as one."""
    if node.op in ("minimum", "maximum"):
        yield node.args
        yield node.args[::-1]
    elif node.op not in ("&", "|"):
        yield node.args
    else:
        for place, part in enumerate(node.args):
            rest = node.args[:place] + node.args[place + 1 :]
            yield part, rest[0] if len(rest) == 1 else Apply(node.op, rest)
