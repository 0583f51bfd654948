"""What pieces cost on a CPU, counted in pairs that SDPA computes without a mask in the same time.

The figures were fitted to torch's kernel on two cores (64 numbers per head); they decide between plans and need to be
right to a tenth only.
"""

from __future__ import annotations

from attnmask.run.pieces import Piece

CALL = 30_000  # pairs, over all heads, that are computed in the time of one more call
DENSE = 1.2  # times as long as without a mask, under a mask of all pairs that is converted in each call
EDGE = 8.0  # the cost of a visible pair that is computed alone
EDGES = 30_000  # the cost of the sparse products of one head, beside their pairs
MASKED = 1.04  # the same, under the mask of a piece, which is kept
PER_ROW = 40  # keys that are computed in the time that a row takes beside its keys
MERGED = 90  # keys that are computed in the time it takes to merge a row into another part of it
GRADIENT = 8  # rows that are computed in the time it takes to add up the gradients of a key
GATHERED = 20  # rows that are computed in the time it takes to copy a key and its value
SLOWER = ((192, 1.05), (96, 1.09), (48, 1.11), (32, 1.13), (0, 1.3))  # blocks of so many rows, and more


def block_cost(rows: int, keys: int, *, layer: int = 0, masked: bool = True, gathered: bool = False) -> float:
    """The cost of a rectangle.

    >>> block_cost(256, 4096, masked=False) / (256 * 4096) < 1.1
    True
    """
    times = next(times for least, times in SLOWER if rows >= least) * (MASKED if masked else 1.0)
    beside = (MERGED if layer else 0) * rows + (GRADIENT + (GATHERED if gathered else 0)) * keys
    return times * rows * (keys + PER_ROW) + beside


def causal_cost(rows: int) -> float:
    """The cost of a square under the kernel's own causal flag: it skips whole blocks of 512 keys only."""
    block = 256 if rows >= 768 else 64 if rows >= 192 else 32
    computed = sum(block * min(rows, -(-(first + block) // 512) * 512) for first in range(0, rows, block))
    return block_cost(rows, computed // rows + 1, masked=False)


def cost_of(piece: Piece) -> float:
    """The cost of a piece, over all of its tiles."""
    if piece.causal:
        return causal_cost(piece.rows)
    masked, gathered = piece.hidden is not None, piece.chosen is not None
    return piece.tiles * block_cost(piece.rows, piece.keys, layer=piece.layer, masked=masked, gathered=gathered)
