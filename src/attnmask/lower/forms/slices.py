"""``slices``: a mask as few disjoint rectangles, each full or cut by diagonals (MagiAttention's AttnSlice)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import LoweringError
from attnmask.lower.intervals import intervals

FULL, CAUSAL, INVCAUSAL, BICAUSAL = 0, 1, 2, 3


class Slice(NamedTuple):
    """Query rows ``q_start .. q_stop`` see keys ``k_start .. k_stop``, cut as ``kind`` says.

    FULL (0): all of them. CAUSAL (1): the last row sees up to the last key, each row before it one key less.
    INVCAUSAL (2): the first row sees from the first key, each row after it one key less. BICAUSAL (3): both.
    """

    q_start: int
    q_stop: int
    k_start: int
    k_stop: int
    kind: int


def lower(mask: Mask, frame: Frame | int) -> list[Slice]:
    """Disjoint slices that cover exactly what is visible; one batch and head.

    >>> import attnmask as am
    >>> am.lower(am.causal() & am.documents(lengths=[3, 2]), 5, "slices")
    [Slice(q_start=0, q_stop=3, k_start=0, k_stop=3, kind=1), Slice(q_start=3, q_stop=5, k_start=3, k_stop=5, kind=1)]
    >>> [piece.kind for piece in am.lower(am.window(2), 6, "slices")]
    [1, 3]

    Raises:
        LoweringError: the mask differs between batches or heads.
    """
    fitted = fit(mask, frame)
    if (fitted.batch, fitted.heads) != (1, 1):
        raise LoweringError(
            "slices describe one batch and head", f"{fitted.batch} x {fitted.heads} in {mask}", "Lower each alone"
        )
    runs = intervals(mask.node, fitted).runs
    open_: dict[int, _Growing] = {}
    done: list[Slice] = []
    for row in range(runs.rows):
        found = [(start, stop) for start, stop, _ in runs.of(row)]
        grown = {place: open_[place].extended(*run) for place, run in enumerate(found) if place in open_}
        keep = len(found) == len(open_)
        following = {}
        for place, run in enumerate(found):
            longer = grown.get(place) if keep else None
            following[place] = longer or _Growing(row, row + 1, *run, *run, None)
        done += [growing.closed() for place, growing in open_.items() if not (keep and grown.get(place))]
        open_ = following
    return sorted(done + [growing.closed() for growing in open_.values()])


class _Growing(NamedTuple):
    """A slice that rows are still added to; ``step`` is how far (start, stop) move per row, None for one row."""

    q_start: int
    q_stop: int
    first_start: int
    first_stop: int
    start: int
    stop: int
    step: tuple[int, int] | None

    def extended(self, start: int, stop: int) -> _Growing | None:
        step = (start - self.start, stop - self.stop)
        if step not in ((0, 0), (0, 1), (1, 0), (1, 1)) or self.step not in (None, step):
            return None
        return self._replace(q_stop=self.q_stop + 1, start=start, stop=stop, step=step)

    def closed(self) -> Slice:
        kinds = {None: FULL, (0, 0): FULL, (0, 1): CAUSAL, (1, 0): INVCAUSAL, (1, 1): BICAUSAL}
        return Slice(self.q_start, self.q_stop, self.first_start, self.stop, kinds[self.step])


def dense(slices: list[Slice], q_len: int, kv_len: int) -> NDArray[np.bool_]:
    """What slices show: (q_len, kv_len)."""
    result = np.zeros((q_len, kv_len), bool)
    for piece in slices:
        rows = np.arange(piece.q_start, piece.q_stop)[:, None]
        keys = np.arange(piece.k_start, piece.k_stop)[None, :]
        ends = keys < piece.k_stop - (piece.q_stop - 1 - rows) if piece.kind in (CAUSAL, BICAUSAL) else True
        starts = keys >= piece.k_start + (rows - piece.q_start) if piece.kind in (INVCAUSAL, BICAUSAL) else True
        result[piece.q_start : piece.q_stop, piece.k_start : piece.k_stop] |= ends & starts
    return result
