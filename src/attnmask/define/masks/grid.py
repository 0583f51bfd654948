"""Neighbourhood attention on grids (Hassani et al. 2023; dilated: Hassani and Shi 2022; the rule of NATTEN)."""

from collections.abc import Iterator
from functools import reduce
from operator import and_
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, Term, k, q, same
from attnmask.define.parts.coordinates import coordinate, inside, neighbours, per_axis, shape_of
from attnmask.define.parts.found import Found, grid_shapes
from attnmask.errors import MaskError

MOST_REACHES = 4  # that are tried


@kind
def grid(shape: Any, kernel: Any, dilation: Any = 1, edge: str = "shift") -> Mask:
    """A query sees the ``kernel`` nearest keys along each axis of a 1-, 2- or 3-D grid.

    With i and j the coordinates of query and key along an axis of length n:
    ``first <= j < first + kernel, first = min(max(i - kernel // 2, 0), n - kernel)``

    >>> import attnmask as am
    >>> print(am.show(am.grid(5, 3), 5).text())
    grid(5, 3): 5 queries x 5 keys, 15 of 25 visible (60.0 %)
        0 1 2 3 4
      0 ■ ■ ■ · ·
      1 ■ ■ ■ · ·
      2 · ■ ■ ■ ·
      3 · · ■ ■ ■
      4 · · ■ ■ ■

    A dilated axis falls apart into ``dilation`` interleaved ones (i % dilation), and the rule holds in each of them.
    Positions outside the grid see nothing and are not seen; text beside an image joins with ``shift`` and ``|``.

    Args:
        shape: lengths of the axes: n, (height, width) or (frames, height, width). Positions are row-major.
        kernel: keys per axis, the query's own among them: one number, or one per axis. Of an even kernel, one more
            key lies before the query than after it.
        dilation: coordinates from one visible key to the next, one number or one per axis.
        edge: ``"shift"`` moves the window inside at the borders, so that every query sees kernel-many keys per
            axis; ``"clip"`` cuts off what would lie outside.
    """
    lengths = shape_of(shape)
    kernels, dilations = per_axis("kernel", kernel, lengths), per_axis("dilation", dilation, lengths)
    if edge not in ("shift", "clip"):
        raise MaskError("edge is 'shift' or 'clip'", f"edge={edge!r}", "Write grid(shape, kernel, edge='clip')")
    for length, wide, step in zip(lengths, kernels, dilations, strict=True):
        if edge == "shift" and wide * step > length:
            raise MaskError(
                "along each axis kernel * dilation is at most the length, so that every query finds its keys",
                f"kernel {wide} * dilation {step} for an axis of length {length}",
                "Write a smaller kernel, or edge='clip'",
            )
    axes = range(len(lengths))
    parts = [
        _axis(coordinate(q, lengths, at), coordinate(k, lengths, at), lengths[at], kernels[at], dilations[at], edge)
        for at in axes
    ]
    size = reduce(lambda x, y: x * y, lengths)
    return reduce(and_, [inside(size), *parts])


def _axis(i: Term, j: Term, length: int, kernel: int, dilation: int, edge: str) -> Mask:
    """The rule along one axis."""
    if dilation == 1:
        return neighbours(i, j, kernel, length if edge == "shift" else None)
    group = i % dilation
    in_group = (length - 1 - group) // dilation + 1
    near = neighbours(i // dilation, j // dilation, kernel, in_group if edge == "shift" else None)
    return same(group, j % dilation) & near


def guesses(found: Found) -> Iterator[Mask]:
    """Square kernels that reach as far as some bound, on every grid that the divisors of positions make."""
    reaches = [number for number in found.limits if number >= 0][:MOST_REACHES]
    for shape in grid_shapes(found):
        for kernel in (2 * reach + odd for reach in reaches for odd in (1, 2)):
            if kernel <= min(shape):
                yield grid(shape, kernel)
                yield grid(shape, kernel, edge="clip")


EXAMPLES = [
    (grid([3, 3], 3), Frame(9)),
    (grid([4, 5], 3), Frame(20)),
    (grid([4, 5], [2, 3], edge="clip"), Frame(7, 20, q_start=6)),
    (grid([6, 6], 3, dilation=2), Frame(36)),
    (grid([2, 3, 4], [1, 3, 2]), Frame(24)),
    (grid(7, 3, dilation=2), Frame(7)),
]
