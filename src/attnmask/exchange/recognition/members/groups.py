"""Masks that sort positions into groups whose members see each other: chunks, documents, images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from attnmask.define.mask import Mask
from attnmask.define.masks.chunked import chunked
from attnmask.define.masks.documents import documents
from attnmask.define.masks.images import images
from attnmask.exchange.recognition.pairs import Bools, Ints
from attnmask.exchange.recognition.view import View

SMALLEST = 2  # positions: a chunk of one is a window(0)


def chunks(view: View) -> Iterator[Mask]:
    """The smallest chunks that keep together what sees each other, and the largest that may be visible whole."""
    pairs = view.pairs
    if not pairs:
        return
    size = pairs[0].size
    joined: Bools = np.any([np.diff(row.runs) == 0 for row in pairs], axis=0)  # positions p and p + 1 are in one run
    cut = np.concatenate([[True], ~joined])
    sizes = range(SMALLEST, size)
    yield from (chunked(one) for one in islice((one for one in sizes if cut[::one].all()), 1))
    nearest = np.min([row.nearest_hidden for row in pairs], axis=0)
    longest = min(size - 1, int(nearest[0]))
    whole = (one for one in range(longest, SMALLEST - 1, -1) if _may_be_whole(nearest, one))
    yield from map(chunked, islice(whole, 1))


def _may_be_whole(nearest: Ints, size: int) -> bool:
    starts = np.arange(0, len(nearest), size)
    return bool((np.minimum.reduceat(nearest, starts) >= np.minimum(starts + size, len(nearest))).all())


def packed(view: View) -> Iterator[Mask]:
    """Documents in one piece each: the smallest that keep together what sees each other, the largest that may be whole."""
    yield from _documents([row.runs_of_used for row in view.pairs])
    rows = [row.greedy for row in view.pairs]
    if rows and min(int(np.bincount(row).min()) for row in rows) > 1:  # else it is images, and text between them
        yield from _documents(rows)


def _documents(rows: list[Ints]) -> Iterator[Mask]:
    count = max((int(row[-1]) for row in rows), default=0) + 1
    if 1 < count < max(map(len, rows), default=0):
        lengths = [np.bincount(row, minlength=count).tolist() for row in rows]
        yield documents(lengths=lengths if len(lengths) > 1 else lengths[0])


def equal_ids(view: View) -> Iterator[Mask]:
    """Documents that need not be in one piece: positions that see each other through others."""
    ids = [row.components for row in view.pairs]
    if ids and max(int(row.max()) for row in ids) > 0:
        yield documents(np.stack(ids) if len(ids) > 1 else ids[0])


def image_tokens(view: View) -> Iterator[Mask]:
    """The same, leaving out positions that see nothing; and the largest groups in one piece that may be visible."""
    touching = [row.used for row in view.pairs]
    yield from _images([row.components for row in view.pairs], touching)
    rows = [row.greedy for row in view.pairs]
    yield from _images(rows, [np.bincount(row)[row] > 1 for row in rows])


def _images(rows: list[Ints], used: list[Bools]) -> Iterator[Mask]:
    """Groups counted anew, among the used positions; some positions must be unused."""
    ids = []
    for groups, inside in zip(rows, used, strict=True):
        found = np.full(len(groups), -1)
        found[inside] = np.unique(groups[inside], return_inverse=True)[1]
        ids.append(found)
    if ids and min(int(row.min()) for row in ids) < 0:
        yield images(np.stack(ids) if len(ids) > 1 else ids[0])
