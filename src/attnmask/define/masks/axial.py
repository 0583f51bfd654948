"""Axial attention: along one axis of a grid at a time (Ho et al. 2019, "Axial attention in multidimensional transformers")."""

import math
from collections.abc import Iterator
from functools import reduce
from operator import and_
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q, same
from attnmask.define.parts.coordinates import coordinate, inside, shape_of
from attnmask.define.parts.found import Found, grid_shapes
from attnmask.define.tables import Table
from attnmask.errors import MaskError


@kind
def axial(shape: Any, axis: Any) -> Mask:
    """A query sees the keys whose coordinates differ from its own along ``axis`` only.

    ``coordinate(q, a) == coordinate(k, a)`` for every other axis a

    >>> import attnmask as am
    >>> print(am.show(am.axial([2, 3], 0), 6).text())
    axial([2, 3], 0): 6 queries x 6 keys, 12 of 36 visible (33.3 %)
        0 1 2 3 4 5
      0 ■ · · ■ · ·
      1 · ■ · · ■ ·
      2 · · ■ · · ■
      3 ■ · · ■ · ·
      4 · ■ · · ■ ·
      5 · · ■ · · ■

    Positions outside the grid see nothing and are not seen.

    Args:
        shape: lengths of the axes: n, (height, width) or (frames, height, width). Positions are row-major.
        axis: the axis along which to look, from 0 (negative numbers count from the last), or several: for video,
            ``axis=0`` looks through time and ``axis=(1, 2)`` through the own frame.
    """
    lengths = shape_of(shape)
    open_axes = _axes(axis, len(lengths))
    others = [at for at in range(len(lengths)) if at not in open_axes]
    aligned = [same(coordinate(q, lengths, at), coordinate(k, lengths, at)) for at in others]
    return reduce(and_, [inside(math.prod(lengths)), *aligned])


def _axes(axis: Any, count: int) -> set[int]:
    given = list(axis.items) if isinstance(axis, Table) and axis.kind == "int" else [axis]
    if not all(type(one) is int and -count <= one < count for one in given):
        raise MaskError(
            f"an axis is a whole number from {-count} to {count - 1} for a shape of {count} axes",
            f"axis={axis.tolist() if isinstance(axis, Table) else axis!r}",
            "Write axis=0 for the first axis, or several: axis=(1, 2)",
        )
    return {one % count for one in given}


def guesses(found: Found) -> Iterator[Mask]:
    """Along either axis of every grid that the divisors of positions make."""
    for shape in grid_shapes(found):
        yield from (axial(shape, axis) for axis in range(len(shape)))


EXAMPLES = [
    (axial([3, 4], 0), Frame(12)),
    (axial([3, 4], 1), Frame(12)),
    (axial([2, 3, 4], 1), Frame(9, 24, q_start=10)),
    (axial([2, 3, 4], [1, 2]), Frame(24)),
]
