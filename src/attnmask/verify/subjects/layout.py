"""``Layout``: which axes of an array count the sequences of a batch, and which the positions."""

from __future__ import annotations

from typing import Any, NamedTuple

from attnmask.errors import InputError


class Layout(NamedTuple):
    """The axis of the batch, and the axes of positions; positions of several axes are counted in reading order.

        (batch, length, dim)             Layout()                     what most models take
        (length, batch, dim)             Layout(1, (0,))              torch.nn.Transformer without batch_first
        (batch, channels, samples)       Layout(0, (2,))              convolutions over time
        (batch, channels, rows, columns) Layout(0, (2, 3))            images

    >>> import numpy as np
    >>> Layout(1, (0,)).inside(np.zeros((7, 2, 3))).shape
    (2, 7, 3)
    >>> images = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    >>> Layout(0, (2, 3)).inside(images).shape
    (2, 20, 3)
    >>> bool((Layout(0, (2, 3)).outside(Layout(0, (2, 3)).inside(images), (4, 5)) == images).all())
    True
    """

    batch: int = 0
    length: tuple[int, ...] = (1,)

    def inside(self, array: Any) -> Any:
        """An array of any library as (batch, positions, ...)."""
        first = (self.batch, *self.length)
        moved = _ordered(array, (*first, *(axis for axis in range(array.ndim) if axis not in first)))
        return moved.reshape((moved.shape[0], -1, *moved.shape[len(first) :])) if len(self.length) > 1 else moved

    def outside(self, array: Any, sizes: tuple[int, ...]) -> Any:
        """An array (batch, positions, ...) in this layout, with axes of positions of these sizes."""
        apart = array.reshape((array.shape[0], *sizes, *array.shape[2:])) if len(sizes) > 1 else array
        first = (self.batch, *self.length)
        order = [*first, *(axis for axis in range(apart.ndim) if axis not in first)]
        return _ordered(apart, tuple(order.index(axis) for axis in range(apart.ndim)))

    def sizes(self, array: Any) -> tuple[int, ...]:
        """How long an array is in each axis of positions."""
        return tuple(int(array.shape[axis]) for axis in self.length)

    def fits(self, array: Any) -> bool:
        """Whether an array has all of these axes."""
        return bool(array.ndim > max(self.batch, *self.length))


def asked(array: Any, batch_axis: int | None, length_axis: int | tuple[int, ...] | None) -> Layout:
    """The layout for an array by the axes that are given; what is left out is the usual."""
    if batch_axis is None and length_axis is None:
        return usual(array)
    lengths = length_axis if isinstance(length_axis, tuple) else (length_axis,)
    axes = [
        axis % array.ndim for axis in (batch_axis, *lengths) if axis is not None and -array.ndim <= axis < array.ndim
    ]
    if len(set(axes)) != sum(axis is not None for axis in (batch_axis, *lengths)):
        raise InputError(
            "batch_axis and length_axis are different axes of the varied input",
            f"batch_axis={batch_axis}, length_axis={length_axis} for shape {tuple(array.shape)}",
            "Write for example batch_axis=1, length_axis=0 for (length, batch, dim)",
        )
    if batch_axis is None:
        return Layout(next(axis for axis in range(array.ndim) if axis not in axes), tuple(axes))
    length = tuple(axes[1:]) or (next(axis for axis in range(array.ndim) if axis not in axes),)
    return Layout(axes[0], length)


def usual(array: Any, *, channels_first: bool = False) -> Layout:
    """The layout of an array of which nothing is said: batch first, then positions; images have theirs in two axes."""
    if array.ndim == 3 and array.dtype.kind == "f" and array.shape[1] == 1 < array.shape[0]:
        return Layout(1, (0,))  # a batch of single positions would have nothing to check
    if array.ndim == 4:
        return Layout(0, (2, 3) if channels_first else (1, 2))
    return Layout(0, (1, 2) if array.ndim == 3 and array.dtype.kind in "iu" else (1,))


def _ordered(array: Any, order: tuple[int, ...]) -> Any:
    return array.permute(order) if hasattr(array, "permute") else array.transpose(order)
