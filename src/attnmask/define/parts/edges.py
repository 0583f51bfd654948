"""Edges of a graph, however they are given, as a sparse table."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Any

from attnmask.define.tables import SparseTable, Table
from attnmask.errors import MaskError


def as_pairs(edges: Any, n: int | None = None) -> dict[str, Any]:
    """A networkx graph or a sparse matrix as pairs (query, key) and the number of nodes; nothing for other edges."""
    if hasattr(edges, "is_directed"):
        place = {node: index for index, node in enumerate(edges.nodes)}
        pairs = [[place[source], place[target]] for source, target in edges.edges()]
        back = [] if edges.is_directed() else [[target, source] for source, target in pairs]
        return {"edges": pairs + back, "n": _size((len(place), len(place)), n)}
    if hasattr(edges, "tocoo"):
        matrix = edges.tocoo()
        there = [bool(value) for value in matrix.data.tolist()]  # a zero may be stored
        found = zip(matrix.row.tolist(), matrix.col.tolist(), there, strict=True)
        return {"edges": [[row, column] for row, column, true in found if true], "n": _size(matrix.shape, n)}
    return {}


def edge_table(edges: Any, n: int | None) -> SparseTable:
    """The matrix (n, n) that is true at each edge (query, key): pairs, or a boolean matrix."""
    pairs = Table.of(edges)
    if pairs.kind == "bool" and len(pairs.shape) == 2:
        size = _size(pairs.shape, n)
        return SparseTable.of_codes((place for place, entry in enumerate(pairs.items) if entry), (size, size))
    if pairs.size and (len(pairs.shape) != 2 or pairs.shape[1] != 2):
        raise MaskError(
            "edges are pairs (query, key): an array (edges, 2)",
            f"shape {pairs.shape}",
            "Write edge_index.T for an array (2, edges)",
        )
    if n is None:
        raise MaskError("a list of edges comes with the number of nodes", "n=None", "Write graph(edges, n)")
    return _table(pairs.items[::2], pairs.items[1::2], n)


def _size(shape: tuple[int, ...], n: int | None) -> int:
    if shape[0] != shape[1] or n not in (None, shape[0]):
        raise MaskError(
            "a matrix of edges is (n, n)", f"shape {tuple(shape)} with n={n}", "Leave n out, or make it fit"
        )
    return int(shape[0])


def _table(queries: Sequence[int], keys: Sequence[int], n: int) -> SparseTable:
    for nodes in (queries, keys):
        if len(nodes) and (min(nodes) < 0 or max(nodes) >= n):
            raise MaskError(
                "nodes are 0 .. n - 1", f"nodes {min(nodes)} to {max(nodes)} with n={n}", "Number the nodes from 0"
            )
    return SparseTable.of_codes(map(add, map(n.__mul__, queries), keys), (n, n))
