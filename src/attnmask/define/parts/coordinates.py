"""Positions on a grid: rows of pixels, planes of rows, frames of planes, counted in row-major order.

Position p of a grid of shape (height, width) stands at row p // width, column p % width.
"""

from __future__ import annotations

import math
from typing import Any

from attnmask.define.mask import Mask, Term, k, maximum, minimum, q
from attnmask.define.tables import Table
from attnmask.errors import MaskError

Sizes = tuple[int, ...]


def shape_of(value: Any) -> Sizes:
    """The lengths of one to three axes."""
    sizes = _listed(value)
    if not sizes or not 1 <= len(sizes) <= 3 or min(sizes) < 1:
        raise MaskError(
            "a grid has 1, 2 or 3 axes of at least 1 position",
            f"shape={_shown(value)}",
            "Write (height, width), or (frames, height, width)",
        )
    return sizes


def per_axis(name: str, value: Any, shape: Sizes) -> Sizes:
    """One number of at least 1 for each axis; a single number counts for all."""
    sizes = (value,) * len(shape) if isinstance(value, int) and not isinstance(value, bool) else _listed(value)
    if not sizes or len(sizes) != len(shape) or min(sizes) < 1:
        raise MaskError(
            f"{name} is one number of at least 1, or one for each of the {len(shape)} axes",
            f"{name}={_shown(value)}",
            f"Write {name}=3, or {name}={(3,) * len(shape)}",
        )
    return sizes


def _listed(value: Any) -> Sizes | None:
    """Whole numbers as a tuple; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    if isinstance(value, Table) and value.kind == "int" and len(value.shape) == 1:
        return tuple(value.items)
    return None


def _shown(value: Any) -> str:
    return repr(value.tolist() if isinstance(value, Table) else value)


def coordinate(position: Term, shape: Sizes, axis: int) -> Term:
    """Where a position inside the grid stands along one axis."""
    inner = math.prod(shape[axis + 1 :])
    along = position // inner if inner > 1 else position
    return along % shape[axis] if axis else along  # along the first axis nothing is left to cut off


def inside(size: int) -> Mask:
    """Where query and key are both among the first ``size`` positions."""
    return (q >= 0) & (q < size) & (k >= 0) & (k < size)


def neighbours(query: Term, key: Term, kernel: int, length: Term | int | None = None) -> Mask:
    """The ``kernel`` coordinates around a query; given the length of the axis, shifted so that none lies outside.

    Of an even kernel one more coordinate lies before the query than after it, as in NATTEN.
    """
    first = query - kernel // 2
    if length is not None:
        first = minimum(maximum(first, 0), length - kernel)
    return (first <= key) & (key < first + kernel)
