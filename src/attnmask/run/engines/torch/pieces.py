"""The pieces of a plan: rectangles of queries and keys that one kernel call computes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Piece(NamedTuple):
    """Tiles of one shape, all computed in one call: tile i is rows ``q_start + i * q_step ..`` and keys ``k_start + i * k_step ..``.

    With ``spacing`` s, each tile holds every s-th row and every s-th key from there.

    Attributes:
        batch: the one batch it belongs to; None for all.
        head: the one head it belongs to; None for all.
        layer: 0 where the piece is the first of its rows; pieces of later layers are merged into those before.
        rows: queries of a tile.
        keys: keys of a tile.
        tiles: how many tiles there are.
        q_step: rows from a tile to the next.
        k_step: keys from a tile to the next.
        spacing: positions from a row to the next, and from a key to the next.
        causal: row i of a tile sees its keys 0 .. i.
        hidden: hidden pairs of every tile (rows, keys), or None.
        chosen: the keys of each tile by number (tiles, keys), where they are not contiguous.
    """

    batch: int | None
    head: int | None
    layer: int
    q_start: int
    rows: int
    k_start: int
    keys: int
    causal: bool = False
    hidden: Bools | None = None
    chosen: Ints | None = None
    tiles: int = 1
    q_step: int = 0
    k_step: int = 0
    spacing: int = 1

    @property
    def apart(self) -> int:
        """Keys of a tile before the first key of the next tile; all of them where no tiles share a key."""
        if self.tiles == 1 or self.chosen is not None or self.k_step % self.spacing:
            return self.keys
        return min(self.k_step // self.spacing, self.keys)

    def spaced(self, q_start: int, k_start: int, spacing: int) -> Piece:
        """The same piece, of every ``spacing``-th row from ``q_start`` and every ``spacing``-th key from ``k_start``."""
        return self._replace(
            q_start=q_start + spacing * self.q_start,
            k_start=k_start + spacing * self.k_start,
            q_step=spacing * self.q_step,
            k_step=spacing * self.k_step,
            chosen=None if self.chosen is None else k_start + spacing * self.chosen,
            spacing=spacing,
        )

    @property
    def empty(self) -> Bools | None:
        """Rows of a tile that see nothing in it (rows,); None if there are none."""
        if self.hidden is None:
            return None
        empty = np.asarray(self.hidden.all(1))
        return empty if empty.any() else None

    @property
    def pairs(self) -> int:
        """Pairs that are computed."""
        return self.tiles * (self.rows * (self.rows + 1) // 2 if self.causal else self.rows * self.keys)

    @property
    def visible(self) -> int:
        """Pairs that are visible."""
        return self.pairs - (0 if self.hidden is None else self.tiles * int(self.hidden.sum()))


def in_progressions(pieces: list[Piece], most_keys: int) -> list[Piece]:
    """The same pieces by layer, those of equal tiles at equal distances as one, of at most so many keys in all."""
    groups: dict[object, list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(_shape(piece), []).append(piece)
    joined = [one for group in groups.values() for one in _joined(group, most_keys)]
    return sorted(joined, key=lambda piece: (piece.layer, piece.batch or 0, piece.head or 0, piece.q_start))


def _shape(piece: Piece) -> object:
    """What equal tiles have in common; a piece that stands alone has only itself in common."""
    if piece.causal:
        return id(piece)
    hidden = None if piece.hidden is None else np.packbits(piece.hidden).tobytes()
    return (piece.batch, piece.head, piece.layer, piece.rows, piece.keys, hidden, piece.chosen is None, piece.spacing)


def _joined(group: list[Piece], most_keys: int) -> list[Piece]:
    """Tiles of one shape, in order of their rows, as few progressions."""
    done = [group[0]]
    for piece in group[1:]:
        last = done[-1]
        step = (piece.q_start - last.q_start, piece.k_start - last.k_start)
        expected = (last.tiles * last.q_step, last.tiles * last.k_step)
        if piece.chosen is not None and last.chosen is not None:
            step, expected = (step[0], 0), (expected[0], 0)  # the keys may stand anywhere
        fits = step[1] >= 0 if last.tiles == 1 else step == expected
        fits = fits and (step[1] % piece.spacing == 0 or step[1] < piece.spacing)  # the same keys, or none in common
        if fits and (last.tiles + 1) * last.keys <= most_keys:
            steps = step if last.tiles == 1 else (last.q_step, last.k_step)
            done[-1] = last._replace(tiles=last.tiles + 1, q_step=steps[0], k_step=steps[1])
            if last.chosen is not None:
                done[-1] = done[-1]._replace(chosen=np.concatenate([last.chosen, piece.chosen]))
        else:
            done.append(piece)
    return done
