"""The few pairs that can be visible at all, where a mask says so itself: the edges of a graph, the diagonal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted
from attnmask.define.language import Apply, Const, Index, Lookup, Named, Node
from attnmask.define.tables import SparseTable
from attnmask.lower.arrays import evaluate, numpy_of

Ints = NDArray[np.int64]


def candidates(node: Node, frame: Fitted) -> Ints | None:
    """Pairs among which all visible ones are, as sorted codes ``row * kv_len + key``; None where they may be anywhere.

    A conjunction has those of its smallest part, a disjunction those of all its parts.
    """
    found = _pairs(node, frame)
    if found is None:
        return None
    row, key = found[0] - frame.q_start, found[1]
    inside = (row >= 0) & (row < frame.q_len) & (key >= 0) & (key < frame.kv_len)
    return np.unique(row[inside] * frame.kv_len + key[inside])


def among(node: Node, frame: Fitted, pairs: Ints) -> NDArray[np.bool_]:
    """Which of some pairs are visible: (batch * heads, pairs)."""
    row, key = np.divmod(pairs, frame.kv_len)
    outer = np.arange(frame.batch * frame.heads)[:, None]
    visible = evaluate(node, outer // frame.heads, outer % frame.heads, row + frame.q_start, key)
    return np.broadcast_to(visible, (len(outer), len(pairs)))


def _pairs(node: Node, frame: Fitted) -> tuple[Ints, Ints] | None:
    """Positions of queries and keys."""
    match node:
        case Named():
            return _pairs(node.body, frame)
        case Apply("&", args):
            known = [pairs for arg in args if (pairs := _pairs(arg, frame)) is not None]
            return min(known, key=lambda pairs: len(pairs[0])) if known else None
        case Apply("|", args):
            parts = [_pairs(arg, frame) for arg in args]
            known = [pairs for pairs in parts if pairs is not None]
            if len(known) < len(parts):
                return None
            rows, keys = zip(*known, strict=True)
            return np.concatenate(rows), np.concatenate(keys)
        case Lookup(SparseTable() as table, (q_index, k_index)):
            q_ahead, k_ahead = _ahead(q_index, "q"), _ahead(k_index, "k")
            if q_ahead is None or k_ahead is None:
                return None
            row, key = np.divmod(numpy_of(table), table.shape[1])
            return row - q_ahead, key - k_ahead
        case Apply("==", (Index("q" | "k") as one, Index("q" | "k") as other)) if one != other:
            position = np.arange(frame.q_start, frame.q_start + frame.q_len)
            return position, position
    return None


def _ahead(index: Node, name: str) -> int | None:
    """How far a look-up reads ahead of its own position; None if it reads elsewhere."""
    match index:
        case Index(known) if known == name:
            return 0
        case Apply("+", (Index(known), Const(ahead))) | Apply("+", (Const(ahead), Index(known))) if known == name:
            return int(ahead)
        case Apply("-", (Index(known), Const(behind))) if known == name:
            return -int(behind)
    return None
