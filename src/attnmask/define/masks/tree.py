"""Tree attention of speculative decoding: drafts that branch (Miao et al. 2023, "SpecInfer"; Cai et al. 2024, "Medusa")."""

import itertools
from collections.abc import Iterator
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.language import Lookup
from attnmask.define.mask import Mask, Term, k, maximum, q
from attnmask.define.parts.forest import ancestor, numbered, parents_of
from attnmask.define.parts.found import Found, K, Q
from attnmask.define.parts.numbers import check_number
from attnmask.define.parts.rows import has_batch, rows_of, table_of, whole_rows


@kind
def tree(parents: Any, *, offset: int = 0) -> Mask:
    """A node sees itself and its ancestors: ``first[k] <= first[q] <= last[k]``.

    ``first`` numbers the nodes in depth-first order and ``last`` is the largest number among a node's descendants:
    two numbers per node, however large the tree.

    >>> import attnmask as am
    >>> print(am.show(am.tree([-1, 0, 0, 1]), 4).text())
    tree([-1, 0, 0, 1]): 4 queries x 4 keys, 8 of 16 visible (50.0 %)
        0 1 2 3
      0 ■ · · ·
      1 ■ ■ · ·
      2 ■ · ■ ·
      3 ■ ■ · ■

    After a cache of ``offset`` tokens, all of which every node sees, node i stands at position offset + i:

    >>> print(am.show(am.tree([-1, -1, 1], offset=2), am.Frame(3, 5, q_start=2)).text())
    tree([-1, -1, 1], offset=2): 3 queries x 5 keys, 10 of 15 visible (66.7 %)
        0 1 2 3 4
      2 ■ ■ ■ · ·
      3 ■ ■ · ■ ·
      4 ■ ■ · ■ ■

    Args:
        parents: for each node the number of its parent, -1 for a root: (nodes,) or (batch, nodes), in any order
            without cycles. There may be several roots.
        offset: number of tokens before the tree, at least 0. Among themselves they are causal.
    """
    check_number("offset", offset, least=0, rule="an offset is at least 0", fix="Write tree(parents, offset=cached)")
    table = whole_rows(
        parents, rule="parents are whole numbers (nodes,) or (batch, nodes)", fix="Write for example [-1, 0, 0, 1]"
    )
    numbers = [numbered(row) for row in rows_of(table)]
    first, last = (table_of([pair[which] for pair in numbers], has_batch(table)) for which in (0, 1))
    if not offset:
        return ancestor(first, last, k, q)
    in_tree = (q >= offset) & (k >= offset) & ancestor(first, last, _node(k, offset), _node(q, offset))
    return (k < offset) & (k <= q) | in_tree


def _node(position: Term, offset: int) -> Term:
    """The node at a position; of positions before the tree any node, for the mask does not ask there."""
    return maximum(position - offset, 0)


def guesses(found: Found) -> Iterator[Mask]:
    """Two tables of which one numbers the nodes, and the other says how far their descendants reach."""
    numbers = [node.table for node in found.nodes if isinstance(node, Lookup) and node.at[-1:] in ((Q,), (K,))]
    for first, last in itertools.permutations(dict.fromkeys(numbers), 2):
        parents = parents_of(first, last)
        if parents is not None:
            yield tree(parents)


EXAMPLES = [
    (tree([-1, 0, 0, 1, 1, 2, -1, 6]), Frame(8)),
    (tree([-1, 0, 0, 1], offset=3), Frame(4, 7, q_start=3)),
    (tree([-1, 0, 1], offset=2), Frame(5)),
    (tree([[-1, 0, 0, 1], [-1, 0, 1, 2]]), Frame(4)),
]
