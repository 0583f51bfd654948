"""Pieces from the runs of keys that each row sees: rectangles that a kernel knows, and blocks of rows for the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from attnmask.lower.runs import Runs, spread
from attnmask.run.pieces import Bools, Ints, Piece

ROW_BLOCKS = (32, 64, 128, 192, 256)  # rows per block that are tried
FEWEST_ROWS = 96  # of a rectangle that gets a call of its own
WORTH_A_CALL = 512  # keys that all rows of a block see, to compute without a mask
DENSE_ENOUGH = 0.75  # keys that are seen, among those between the first and the last, to take them all
GATHERED = 24  # rows that are computed in the time it takes to copy a key and its value

Place = tuple[int | None, int | None]  # batch and head, None for all


class Segment(NamedTuple):
    """Rows that see one run of keys from the same start; it ends at the same key, or one later with each row."""

    first: int
    stop: int
    k_start: int
    k_stop: int  # of the first row
    causal: bool

    def pieces(self, place: Place) -> list[Piece]:
        """A causal square and the full rectangle before it, or the full rectangle alone."""
        rows, keys = self.stop - self.first, self.k_stop - self.k_start
        if not self.causal:
            return [Piece(*place, 0, self.first, rows, self.k_start, keys)]
        square = Piece(*place, 0, self.first, rows, self.k_stop - 1, rows, causal=True)
        return [square] + ([Piece(*place, 1, self.first, rows, self.k_start, keys - 1)] if keys > 1 else [])


def segments(runs: Runs) -> list[Segment]:
    """The rectangles of at least ``FEWEST_ROWS`` rows, from the first row to the last."""
    single = np.diff(runs.offsets) == 1
    if not single.any():
        return []
    at = np.minimum(runs.offsets[:-1], len(runs.start) - 1)
    start, stop = runs.start[at], runs.stop[at]
    steps = np.where(single[1:] & single[:-1] & (np.diff(start) == 0), np.diff(stop), -1)
    edges = np.flatnonzero(np.diff(steps, prepend=-2, append=-2))
    found: list[Segment] = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):  # rows first .. last
        begin = max(first, found[-1].stop if found else 0)
        if steps[first] in (0, 1) and last + 1 - begin >= min(FEWEST_ROWS, runs.rows):
            found.append(Segment(begin, last + 1, int(start[begin]), int(stop[begin]), bool(steps[first] == 1)))
    return found if runs.rows > 1 else [Segment(0, 1, int(start[0]), int(stop[0]), False)]


def tile_rows(runs: Runs, first: int, stop: int, size: int, place: Place) -> list[Piece]:
    """Rows first .. stop in blocks of some size, each with the keys that any of its rows sees."""
    pieces: list[Piece] = []
    for row in range(first, stop, size):
        pieces += _block(runs, row, min(row + size, stop), place)
    return pieces


def _block(runs: Runs, first: int, stop: int, place: Place) -> list[Piece]:
    part = slice(runs.offsets[first], runs.offsets[stop])
    starts, stops = runs.start[part], runs.stop[part]
    if not len(starts):
        return []
    low, high = int(starts.min()), int(stops.max())
    seen_by = np.cumsum(_counted(starts - low, high - low) - _counted(stops - low, high - low))[:-1]
    full = _longest(seen_by == stop - first)
    seen = np.flatnonzero(seen_by > 0)
    if not _worth_a_call(full, seen):
        full = (0, 0)
    rest = seen[(seen < full[0]) | (seen >= full[1])]
    pieces: list[Piece] = []
    if full[1]:
        pieces.append(Piece(*place, 0, first, stop - first, low + full[0], full[1] - full[0]))
    if len(rest):
        pieces.append(_masked(runs, first, stop, low + rest, place)._replace(layer=len(pieces)))
    return pieces


def _counted(positions: Ints, length: int) -> Ints:
    return np.bincount(positions, minlength=length + 1)


def _worth_a_call(full: tuple[int, int], seen: Ints) -> bool:
    """Whether keys that all rows see are computed without a mask, and merged with the others.

    Where others stand on both sides, as in a window, only if they are many: the others must be copied together.
    """
    between = full[0] > seen[0] and full[1] <= seen[-1]
    return full[1] - full[0] >= (4 * WORTH_A_CALL if between else WORTH_A_CALL)


def _longest(true: Bools) -> tuple[int, int]:
    """The longest run of True: start and stop."""
    edges = np.flatnonzero(np.diff(true, prepend=False, append=False))
    if not len(edges):
        return (0, 0)
    starts, stops = edges[::2], edges[1::2]
    longest = int(np.argmax(stops - starts))
    return int(starts[longest]), int(stops[longest])


def _masked(runs: Runs, first: int, stop: int, keys: Ints, place: Place) -> Piece:
    """Rows and keys with a mask: all keys from the first to the last, or only these where they are few."""
    low, span = int(keys[0]), int(keys[-1]) + 1 - int(keys[0])
    contiguous = len(keys) >= DENSE_ENOUGH * span and not _sees_between(runs, first, stop, keys)
    chosen = None if contiguous else keys[None]
    hidden = ~_visible(runs, first, stop, np.arange(low, low + span) if contiguous else keys)
    return Piece(
        *place, 0, first, stop - first, low, hidden.shape[1], hidden=hidden if hidden.any() else None, chosen=chosen
    )


def _sees_between(runs: Runs, first: int, stop: int, keys: Ints) -> bool:
    """Whether a key that is left out, between the first and the last, is seen: it has a piece of its own."""
    between = np.setdiff1d(np.arange(keys[0], keys[-1] + 1), keys, assume_unique=True)
    return bool(len(between)) and bool(_visible(runs, first, first + 1, between).any())


def _visible(runs: Runs, first: int, stop: int, keys: Ints) -> Bools:
    """What rows see of keys (rows, keys), the keys in order."""
    part = slice(runs.offsets[first], runs.offsets[stop])
    row = np.repeat(np.arange(stop - first), np.diff(runs.offsets[first : stop + 1]))
    begin, end = np.searchsorted(keys, runs.start[part]), np.searchsorted(keys, runs.stop[part])
    visible = np.zeros((stop - first, len(keys)), bool)
    visible.reshape(-1)[spread(row * len(keys) + begin, end - begin)] = True
    return visible


def cost_of(piece: Piece) -> float:
    """Pairs that an unmasked call computes in the time of a piece."""
    rows = piece.rows
    slow = 1.0 if rows >= 192 else 1.12 if rows >= 96 else 1.6 if rows >= 48 else 2.1
    if piece.causal:
        return slow * (piece.pairs + 64 * rows)
    masked = 1.0 if piece.hidden is None else 1.12
    gathered = GATHERED * piece.keys if piece.chosen is not None else 0
    return slow * masked * piece.pairs + gathered
