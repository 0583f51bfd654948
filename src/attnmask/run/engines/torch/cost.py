"""What pieces cost on a CPU, counted in pairs that SDPA computes without a mask in the same time.

The figures were fitted to torch's kernels on two cores (64 numbers per head), forward alone and forward with backward;
they decide between plans and need to be right to a tenth only.
"""

from __future__ import annotations

from typing import NamedTuple

from attnmask.run.engines.torch.pieces import Piece

DENSE = 1.2  # times as long as without a mask, under a mask of all pairs that is converted in each call
EDGE = 8.0  # the cost of a visible pair that is computed alone
EDGES = 30_000  # the cost of the sparse products of one head, beside their pairs
MASKED = 1.04  # times as long under the mask of a piece, which is kept
SLOWER = ((192, 1.05), (96, 1.09), (48, 1.11), (32, 1.13), (0, 1.3))  # blocks of so many rows, and more


class Costs(NamedTuple):
    """What calls and rows cost beside their pairs.

    Attributes:
        call: pairs, over all heads, that are computed in the time of one more call.
        row: keys that are computed in the time that a row takes beside its keys.
        merged: keys that are computed in the time it takes to merge a row into another part of it.
        copied: rows that are computed in the time it takes to copy a key and its value.
        added: rows that are computed in the time it takes to add up the gradients of a key and its value.
        loaded: rows that are computed in the time it takes to load a key and its value for a call.
        together: most keys in one call, over all of its tiles; gradients of more keys are new memory in each call.
    """

    call: int
    row: int
    merged: int
    copied: int
    added: int
    loaded: int
    together: int

    def block(self, rows: int, keys: int, *, layer: int = 0, masked: bool = True, gathered: bool = False) -> float:
        """The cost of a rectangle.

        >>> FORWARD.block(256, 4096, masked=False) / (256 * 4096) < 1.1
        True
        """
        times = next(times for least, times in SLOWER if rows >= least) * (MASKED if masked else 1.0)
        beside = (self.merged if layer else 0) * rows + (self.added + (self.copied if gathered else 0)) * keys
        return times * rows * (keys + self.row) + beside

    def causal(self, rows: int) -> float:
        """The cost of a square under the kernel's own causal flag: it skips whole blocks of 512 keys only."""
        block = 256 if rows >= 768 else 64 if rows >= 192 else 32
        computed = sum(block * min(rows, -(-(first + block) // 512) * 512) for first in range(0, rows, block))
        return self.block(rows, computed // rows + 1, masked=False) + self.loaded * rows

    def of(self, piece: Piece) -> float:
        """The cost of a piece, over all of its tiles."""
        if piece.causal:
            return self.causal(piece.rows)
        masked, gathered = piece.hidden is not None, piece.chosen is not None
        block = self.block(piece.rows, piece.keys, layer=piece.layer, masked=masked, gathered=gathered)
        return piece.tiles * block + self.loaded * (piece.keys + (piece.tiles - 1) * piece.apart)


FORWARD = Costs(call=60_000, row=45, merged=90, copied=24, added=0, loaded=24, together=1 << 14)
TRAINING = Costs(call=100_000, row=27, merged=35, copied=12, added=8, loaded=14, together=1 << 12)
