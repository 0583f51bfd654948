"""Sliding tile attention (Zhang et al. 2025, "Fast video generation with sliding tile attention")."""

import math
from functools import reduce
from operator import and_
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, Term, k, q
from attnmask.define.parts.coordinates import Sizes, coordinate, inside, neighbours, per_axis, shape_of
from attnmask.errors import MaskError


@kind
def sliding_tiles(shape: Any, tile: Any, kernel: Any, *, order: str = "row") -> Mask:
    """All queries of a tile see the tiles around it: the rule of ``grid``, counted in whole tiles.

    With i and j the tile coordinates of query and key along an axis of n tiles, and m = kernel // tile:
    ``first <= j < first + m, first = min(max(i - m // 2, 0), n - m)``

    >>> import attnmask as am
    >>> print(am.show(am.sliding_tiles([2, 4], 2, 2, order="tile"), 8).text())
    sliding_tiles([2, 4], 2, 2, order='tile'): 8 queries x 8 keys, 32 of 64 visible (50.0 %)
        0 1 2 3 4 5 6 7
      0 ■ ■ ■ ■ · · · ·
      1 ■ ■ ■ ■ · · · ·
      2 ■ ■ ■ ■ · · · ·
      3 ■ ■ ■ ■ · · · ·
      4 · · · · ■ ■ ■ ■
      5 · · · · ■ ■ ■ ■
      6 · · · · ■ ■ ■ ■
      7 · · · · ■ ■ ■ ■

    Args:
        shape: lengths of the axes: n, (height, width) or (frames, height, width).
        tile: positions per tile along each axis, one number or one per axis; each divides its axis.
        kernel: positions (not tiles) that a tile sees along each axis, one number or one per axis; multiples of
            ``tile``, at most the length. Of an even number of tiles, one more lies before than after.
        order: how positions are counted: ``"row"`` row-major over the grid, as in ``grid``; ``"tile"`` tile after
            tile, row-major over the tiles and within each, which makes every visible block contiguous.
    """
    lengths = shape_of(shape)
    tiles, kernels = per_axis("tile", tile, lengths), per_axis("kernel", kernel, lengths)
    _check(lengths, tiles, kernels, order)
    counts = tuple(length // size for length, size in zip(lengths, tiles, strict=True))
    near = [
        neighbours(
            _tile_of(q, lengths, tiles, counts, axis, order),
            _tile_of(k, lengths, tiles, counts, axis, order),
            kernels[axis] // tiles[axis],
            counts[axis],
        )
        for axis in range(len(lengths))
    ]
    return reduce(and_, [inside(math.prod(lengths)), *near])


def _tile_of(position: Term, lengths: Sizes, tiles: Sizes, counts: Sizes, axis: int, order: str) -> Term:
    """The coordinate of a position's tile along one axis."""
    if order == "tile":
        return coordinate(position // math.prod(tiles), counts, axis)
    return coordinate(position, lengths, axis) // tiles[axis]


def _check(lengths: Sizes, tiles: Sizes, kernels: Sizes, order: str) -> None:
    for length, tile, kernel in zip(lengths, tiles, kernels, strict=True):
        if length % tile or kernel % tile or kernel > length:
            raise MaskError(
                "along each axis a tile divides length and kernel, and the kernel is at most the length",
                f"length {length}, tile {tile}, kernel {kernel}",
                "Pad the grid to whole tiles, and give the kernel in positions: tiles seen * tile",
            )
    if order not in ("row", "tile"):
        raise MaskError(
            "order is 'row' or 'tile'", f"order={order!r}", "Write order='tile' for tokens sorted tile by tile"
        )


EXAMPLES = [
    (sliding_tiles([4, 6], 2, [2, 6]), Frame(24)),
    (sliding_tiles([4, 6], 2, [4, 6], order="tile"), Frame(24)),
    (sliding_tiles([2, 4, 4], [1, 2, 2], [1, 4, 2]), Frame(8, 32, q_start=20)),
    (sliding_tiles(12, 2, 6), Frame(12)),
]
