"""Trees of drafts: a node sees itself and its ancestors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.define.mask import Mask
from attnmask.define.masks.tree import tree
from attnmask.exchange.recognition.pairs import Bools, Ints
from attnmask.exchange.recognition.view import View

AT_ONCE = 1 << 20  # cells that are looked at together


def trees(view: View) -> Iterator[Mask]:
    """The tree in which each node's parent is its nearest visible ancestor: of those it sees, the one that sees most."""
    q_len, kv_len = view.must.shape[2:]
    visible: Bools = np.any(view.must, axis=1)[:, :, max(0, view.q_start) :]
    if view.q_start < 0 or q_len != kv_len - view.q_start or q_len == 1 or not _reflexive(visible):
        return
    parents = [_parents(row) for row in visible]
    if all(bool((row < np.arange(q_len)).all()) for row in parents):  # so there are no cycles
        yield tree(np.stack(parents) if len(parents) > 1 else parents[0], offset=view.q_start)


def _reflexive(visible: Bools) -> bool:
    """Whether all see themselves, and no two nodes see each other; the second of some only."""
    some = slice(0, 64)
    mutual = visible[:, some, some] & visible[:, some, some].swapaxes(1, 2)
    return bool(visible.diagonal(axis1=1, axis2=2).all() and (mutual.sum((1, 2)) == mutual.shape[1]).all())


def _parents(visible: Bools) -> Ints:
    count, depth = len(visible), visible.sum(1, dtype=np.int32)
    found = np.full(count, -1)
    for start in range(0, count, max(1, AT_ONCE // count)):
        rows = np.arange(start, min(count, start + max(1, AT_ONCE // count)))
        seen = visible[rows] & (np.arange(count) != rows[:, None])
        found[rows] = np.where(seen.any(1), np.where(seen, depth, 0).argmax(1), -1)
    return found
