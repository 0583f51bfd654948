"""``Sample``: masks as bits over some rows of an array, to be combined and compared quickly."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import FrameError
from attnmask.exchange.recognition.pairs import Bools
from attnmask.lower.arrays import evaluate

CELLS = 1 << 18  # of a sample, about
FEWEST_ROWS = 16
AT_ONCE = 1 << 20  # cells that are evaluated at once


class Sample:
    """Rows of an array: all of a small one, some of a large one, its first and last among them.

    >>> from attnmask.define.masks.causal import causal
    >>> sample = Sample(np.tril(np.ones((1, 1, 3, 3), bool)), 0)
    >>> f"{sample.bits(causal()):b}"
    '1001101110000000'

    Args:
        visible: booleans (batch, heads, q_len, kv_len).
        q_start: the position of the first row.
        also: rows to be among them.
    """

    def __init__(self, visible: Bools, q_start: int, also: Iterable[int] = ()) -> None:
        self.shape = visible.shape
        self.q_start = q_start
        batch, heads, q_len, kv_len = visible.shape
        count = max(FEWEST_ROWS, CELLS // (batch * heads * kv_len))
        spread = np.random.default_rng(0).choice(q_len, min(count, q_len), replace=False)
        self.rows = np.unique([*spread.tolist(), 0, q_len - 1, *also]) if count < q_len else np.arange(q_len)
        self.everything = self._packed(np.ones((1, 1, 1, 1), bool))
        self._known: dict[Mask, int | None] = {}

    def pack(self, array: Bools) -> int:
        """The rows of the sample as bits."""
        cells = np.broadcast_to(array, self.shape)[:, :, self.rows] if len(self.rows) < self.shape[2] else array
        return self._packed(cells)

    def bits(self, mask: Mask) -> int | None:
        """A mask at these rows as bits; None if its tables do not cover the array."""
        if mask not in self._known:
            try:
                fit(mask, self._frame)
                self._known[mask] = self._packed(self._at(mask, self.rows))
            except FrameError:
                self._known[mask] = None
        return self._known[mask]

    def _packed(self, cells: Bools) -> int:
        return int.from_bytes(np.packbits(np.broadcast_to(cells, self._shape)).tobytes(), "big")

    def dense(self, mask: Mask) -> Bools:
        """A mask at every row, of a shape that broadcasts to the array's."""
        rows, at_once = self.shape[2], max(1, AT_ONCE // self.shape[3])
        parts = [self._at(mask, np.arange(rows)[at : at + at_once]) for at in range(0, rows, at_once)]
        return np.concatenate(parts, axis=2) if parts[0].shape[2] > 1 or rows == 1 else parts[0]

    def _at(self, mask: Mask, rows: object) -> Bools:
        batch, heads, _, kv_len = self.shape
        places = (np.arange(batch)[:, None, None, None], np.arange(heads)[:, None, None])
        values = evaluate(mask.node, *places, np.asarray(rows)[:, None] + self.q_start, np.arange(kv_len))
        array = np.asarray(values, bool)
        return array.reshape((1,) * (4 - array.ndim) + array.shape)

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return (*self.shape[:2], len(self.rows), self.shape[3])

    @property
    def _frame(self) -> Frame:
        batch, heads, q_len, kv_len = self.shape
        return Frame(q_len, kv_len, q_start=self.q_start, batch=batch, heads=heads)
