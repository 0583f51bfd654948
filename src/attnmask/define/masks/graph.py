"""Graph attention: a node sees its neighbours (Velickovic et al. 2018, "Graph attention networks")."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, lookup, q
from attnmask.define.parts.edges import as_pairs, edge_table
from attnmask.define.parts.found import Found, K, Q
from attnmask.define.tables import SparseTable


@partial(kind, prepare=as_pairs)
def graph(edges: Any, n: int | None = None) -> Mask:
    """A query sees the keys that an edge leads to: ``(q, k) in edges``. Stored as its edges, whatever ``n`` is.

    >>> import attnmask as am
    >>> print(am.show(am.graph([(0, 0), (1, 0), (2, 3), (3, 1)], 4), 4).text())
    graph([[0, 0], [1, 0], [2, 3], [3, 1]], 4): 4 queries x 4 keys, 4 of 16 visible (25.0 %)
        0 1 2 3
      0 ■ · · ·
      1 ■ · · ·
      2 · · · ■
      3 · ■ · ·

    No node sees itself unless an edge says so: ``am.graph(edges, n) | am.same(am.q, am.k)`` adds it.

    Args:
        edges: pairs (query, key) as a list or an array (edges, 2); or a networkx graph (undirected edges lead both
            ways; nodes count in the graph's order); or a scipy sparse or dense boolean matrix (query, key).
        n: the number of nodes; graphs and matrices know it themselves.
    """
    mask: Mask = lookup(edge_table(edges, n), q, k)
    return mask


def guesses(found: Found) -> Iterator[Mask]:
    """The edges that are looked up at query and key."""
    for cells in found.tables(Q, K):
        if isinstance(cells, SparseTable) and cells.shape[0] == cells.shape[1]:
            yield graph([divmod(code, cells.shape[1]) for code in cells.codes], cells.shape[0])


EXAMPLES = [
    (graph([(0, 1), (1, 2), (2, 0), (5, 5), (3, 4)], 6), Frame(6)),
    (graph([(0, 1), (4, 2), (5, 6)], 7), Frame(3, 7, q_start=3)),
    (graph([], 4), Frame(4)),
]
