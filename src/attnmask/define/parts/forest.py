"""Trees by numbers: who is whose ancestor, from two numbers per node instead of a matrix.

Nodes are counted in depth-first order, parents first. A node's descendants then have consecutive numbers, so that
``a`` is ``d`` itself or an ancestor of it exactly if ``first[a] <= first[d] <= last[a]``.

        0           node     0  1  2  3        1 is an ancestor of 3:  1 <= 2 <= 2
       / \\          first    0  1  3  2        2 is none of 3:         3 <= 2 is false
      1   2         last     3  2  3  2
      |
      3
"""

from __future__ import annotations

from collections.abc import Sequence

from attnmask.define.mask import Mask, Term
from attnmask.define.parts.rows import entry, has_batch, rows_of, table_of
from attnmask.define.tables import Table
from attnmask.errors import MaskError


def numbered(parents: Sequence[int]) -> tuple[list[int], list[int]]:
    """For each node its number, and the largest number among its descendants.

    >>> numbered([-1, 0, 0, 1])
    ([0, 1, 3, 2], [3, 2, 3, 2])
    """
    order = _depth_first(parents)
    first = [0] * len(parents)
    for number, node in enumerate(order):
        first[node] = number
    last = list(first)
    for node in reversed(order):
        if parents[node] >= 0:
            last[parents[node]] = max(last[parents[node]], last[node])
    return first, last


def _depth_first(parents: Sequence[int]) -> list[int]:
    """All nodes, each parent before its children and each subtree in one piece."""
    children: list[list[int]] = [[] for _ in parents]
    for node, parent in enumerate(parents):
        if not -1 <= parent < len(parents):
            raise MaskError(
                "a parent is the number of a node, or -1 for a root",
                f"parent {parent} of node {node} among {len(parents)} nodes",
                "Count nodes from 0",
            )
        if parent >= 0:
            children[parent].append(node)
    waiting = [node for node, parent in enumerate(parents) if parent < 0][::-1]
    order: list[int] = []
    while waiting:
        order.append(waiting.pop())
        waiting += reversed(children[order[-1]])
    if len(order) < len(parents):
        stuck = min(set(range(len(parents))) - set(order))
        raise MaskError("a tree has no cycles", f"node {stuck}, whose ancestors end at no root", "Mark roots with -1")
    return order


def ancestor(first: Table, last: Table, old: Term, young: Term) -> Mask:
    """Where the node at position ``old`` is the node at ``young`` or one of its ancestors."""
    below: Mask = (entry(first, old) <= entry(first, young)) & (entry(first, young) <= entry(last, old))
    return below


def parents_of(first: Table, last: Table) -> Table | None:
    """The parents of the nodes that ``numbered`` gave these numbers; None if it cannot have."""
    if first.kind != "int" or last.kind != "int" or first.shape != last.shape or len(first.shape) not in (1, 2):
        return None
    rows = [_parents(*pair) for pair in zip(rows_of(first), rows_of(last), strict=True)]
    return table_of(rows, has_batch(first))


def _parents(first: list[int], last: list[int]) -> list[int]:
    """For each node the nearest one before it, in the order of their numbers, whose descendants reach so far."""
    parents = [-1] * len(first)
    open_: list[int] = []
    for node in sorted(range(len(first)), key=first.__getitem__):
        while open_ and last[open_[-1]] < first[node]:
            open_.pop()
        parents[node] = open_[-1] if open_ else -1
        open_.append(node)
    return parents
