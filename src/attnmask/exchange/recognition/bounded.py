"""Where a mask that is made of tables can be seen: the positions that its tables cover."""

from __future__ import annotations

from typing import NamedTuple

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.language import Index, Lookup, Node, nodes
from attnmask.define.mask import Mask
from attnmask.define.normal.linear import linear
from attnmask.define.tables import SparseTable
from attnmask.errors import FrameError

Q, K = Index("q"), Index("k")


class Place(NamedTuple):
    """A frame, and the key at which it begins."""

    frame: Frame
    k_start: int


def bounded(mask: Mask) -> Place | None:
    """The positions that all tables of a mask cover, if one of them holds an entry for each query and key; else None.

    >>> import attnmask as am
    >>> bounded(am.table([[True, False], [True, True]]).shift(q=-4) & am.causal())
    Place(frame=Frame(2, q_start=4), k_start=0)
    >>> bounded(am.causal())

    Args:
        mask: any mask. A table that is looked up at ``q + c`` and has n entries covers queries -c .. n - 1 - c.
    """
    lookups = [node for node in nodes(mask.plain) if isinstance(node, Lookup)]
    covered = [_covered(node) for node in lookups]
    if not any(set(found) >= {Q, K} for found, node in zip(covered, lookups, strict=True) if _is_dense(node)):
        return None
    (q_start, q_end), (k_start, k_end) = (_common([found[at] for found in covered if at in found]) for at in (Q, K))
    k_start = max(0, k_start)
    if q_start >= q_end or k_start >= k_end:
        return None
    place = Place(Frame(q_end - q_start, k_end - k_start, q_start=q_start), k_start)
    try:
        fit(mask.shift(k=k_start), place.frame)
    except FrameError:  # it looks up something else that this frame does not cover
        return None
    return place


def _is_dense(node: Lookup) -> bool:
    return not isinstance(node.table, SparseTable)


def _covered(node: Lookup) -> dict[Node, tuple[int, int]]:
    """For an index that the table is looked up at, plus a number: the first position inside, and one past the last."""
    found: dict[Node, tuple[int, int]] = {}
    for size, at in zip(node.table.shape, node.at, strict=True):
        parts, constant = linear(at)
        for index in (Q, K):
            if parts == {index: 1}:
                found[index] = (-constant, size - constant)
    return found


def _common(ranges: list[tuple[int, int]]) -> tuple[int, int]:
    return max(start for start, _ in ranges), min(end for _, end in ranges)
