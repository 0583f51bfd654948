"""``intervals``: for each query the runs of keys that it sees, any number of them."""

from __future__ import annotations

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.intervals import Intervals, intervals


def lower(mask: Mask, frame: Frame | int) -> Intervals:
    """The visible keys of each query as runs ``start .. stop``, in order and apart; memory goes with their number.

    >>> import attnmask as am
    >>> found = am.lower(am.causal() & am.window(2), 5, "intervals")
    >>> found.runs.start.tolist(), found.runs.stop.tolist()
    ([0, 0, 0, 1, 2], [1, 2, 3, 4, 5])

    Args:
        mask: the mask.
        frame: where it is seen.
    """
    return intervals(mask.node, fit(mask, frame))
