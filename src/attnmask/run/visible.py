"""What each row of a call sees, found once for all engines that plan by it."""

from __future__ import annotations

import functools

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.intervals import intervals_within
from attnmask.lower.runs import Runs

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
