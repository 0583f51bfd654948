"""Trees of drafts: a node sees itself and its ancestors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.documents import documents
from attnmask.define.masks.tree import tree
from attnmask.exchange.recognition.pairs import Bools, Ints
from attnmask.exchange.recognition.view import View

AT_ONCE = 1 << 20  # cells that are looked at together


def trees(view: View) -> Iterator[Mask]:
    """The tree in which each node's parent is its nearest visible ancestor: of those it sees, the one that sees most.

    Without a branch it is no tree, but documents that are causal.
    """
    q_len, kv_len = view.must.shape[2:]
    visible: Bools = np.any(view.must, axis=1)[:, :, max(0, view.q_start) :]
    if view.q_start < 0 or q_len != kv_len - view.q_start or q_len == 1 or not _reflexive(visible):
        return
    parents = [_parents(row) for row in visible]
    if not all(bool((row < np.arange(q_len)).all()) for row in parents):  # else there are no cycles
        return
    branches = any(len(np.unique(row[row >= 0])) < np.count_nonzero(row >= 0) for row in parents)
    if branches:
        yield tree(np.stack(parents) if len(parents) > 1 else parents[0], offset=view.q_start)
    elif not view.q_start:
        ids = [_chains(row) for row in parents]
        if any(row != sorted(row) for row in ids):  # documents in one piece each have a shorter name
            yield causal() & documents(ids if len(ids) > 1 else ids[0])


def _chains(parents: Ints) -> list[int]:
    """The number of the chain that each node belongs to."""
    ids: list[int] = []
    for parent in parents.tolist():
        ids.append(max(ids, default=-1) + 1 if parent < 0 else ids[parent])
    return ids


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
