"""What each row of a call sees, found once for all engines that plan by it."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.intervals import intervals_within
from attnmask.lower.runs import Ints, Runs

MOST_LOOKED_AT = 1 << 28  # pairs evaluated to find what each row sees


@functools.lru_cache(maxsize=8)
def visible_runs(mask: Mask, frame: Frame) -> tuple[Fitted, Runs] | None:
    """The runs of keys that each row sees, the rows of all batches and heads that the mask tells apart one after another.

    None where finding them costs more than it saves.

    Args:
        mask: the mask.
        frame: where it is seen.
    """
    fitted = fit(mask, frame)
    found = intervals_within(mask.node, fitted, MOST_LOOKED_AT)
    return None if found is None else (fitted, found.runs)


def blocked(order: Ints, size: int) -> Ints:
    """Rows in an order as blocks (blocks, size), filled up with -1.

    >>> blocked(np.arange(5), 2).tolist()
    [[0, 1], [2, 3], [4, -1]]
    """
    blocks = np.full((-(-len(order) // size), size), -1)
    blocks.reshape(-1)[: len(order)] = order
    return blocks


def patches(runs: Runs, q_len: int, size: int) -> Iterator[Ints]:
    """Rows in the order of patches of a grid, as wide as what a row sees repeats: neighbours see alike there.

    A patch of one column is every n-th row, as a dilated window wants it.
    """
    following = np.flatnonzero(np.diff(runs.row) == 0)
    gaps = runs.start[following + 1] - runs.start[following]
    if not len(gaps):
        return
    width = int(np.bincount(gaps).argmax())
    y, x = np.divmod(np.arange(q_len), width)
    for height in (1 << power for power in range(1, size.bit_length())):
        across = size // height
        yield np.lexsort((x % across, y % height, x // across, y // height))
