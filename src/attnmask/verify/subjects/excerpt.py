"""A part of a sequence, with all inputs that go along positions: masks and positions, pairs of positions, borders."""

from __future__ import annotations

import numpy as np

from attnmask.errors import InputError
from attnmask.verify.subjects.arrays import Array
from attnmask.verify.subjects.subject import Subject

BORDERS = "cu_seq"  # in names of the cumulative lengths of documents
LONGEST = "max_"  # so begin the names of the length of the longest of them


def excerpt(subject: Subject, start: int, stop: int) -> Subject:
    """The same subject with the positions from ``start`` to before ``stop`` only.

    >>> import numpy as np
    >>> inputs = {"x": np.ones((1, 5, 2)), "mask": np.tri(5), "cu_seqlens": np.array([0, 2, 5])}
    >>> found = excerpt(Subject(lambda **inputs: inputs["x"], inputs), 2, 5)
    >>> found.arrays["x"].shape, found.arrays["mask"].shape, found.arrays["cu_seqlens"]
    ((1, 3, 2), (3, 3), array([0, 3]))
    """
    other = subject.with_inputs(
        **{name: _part(subject, name, array, start, stop) for name, array in subject.arrays.items()}
    )
    return _with_longest(other)


def merged(subject: Subject, start: int) -> Subject:
    """The same subject, of which all inputs that say so say that what stands before a position is one document.

    >>> import numpy as np
    >>> inputs = {"x": np.ones((1, 5, 2)), "segment_ids": np.array([[0, 1, 1, 2, 2]])}
    >>> merged(Subject(lambda **inputs: inputs["x"], inputs), 3).arrays["segment_ids"]
    array([[1, 1, 1, 2, 2]])
    """
    changed: dict[str, Array] = {}
    for name, array in subject.arrays.items():
        if BORDERS in name:
            changed[name] = array[(array == 0) | (array >= start)]
        elif _numbers_documents(subject, name, array):
            before = np.arange(subject.length) < start
            changed[name] = np.where(before, array[:, start - 1 : start], array).astype(array.dtype)
    return _with_longest(subject.with_inputs(**changed))


def _numbers_documents(subject: Subject, name: str, array: Array) -> bool:
    along = name != subject.vary and array.dtype.kind in "iu" and subject._goes_along(name, array)
    hides = ("mask" in name or "pad" in name) and np.isin(array, (0, 1)).all()
    return along and not hides and "position" not in name


def _with_longest(subject: Subject) -> Subject:
    """The same subject, told the length of its longest document where it is told borders."""
    longest = [int(np.diff(array).max()) for name, array in subject.arrays.items() if BORDERS in name]
    if not longest:
        return subject
    sizes = {name: array for name, array in subject.arrays.items() if name.startswith(LONGEST)}
    other = subject.with_inputs(**{name: np.full_like(array, longest[0]) for name, array in sizes.items()})
    numbers = [name for name, value in other.inputs.items() if type(value) is int and name.startswith(LONGEST)]
    other.inputs = other.inputs | dict.fromkeys(numbers, longest[0])
    return other


def _part(subject: Subject, name: str, array: Array, start: int, stop: int) -> Array:
    if BORDERS in name:
        return np.unique(np.clip(array - start, 0, stop - start)).astype(array.dtype)
    if is_of_pairs(subject, name, array):
        return array[..., start:stop, start:stop]
    if subject._goes_along(name, array):
        return array[:, start:stop]
    if _is_unknown(subject, name, array):
        raise InputError(
            "inputs of a part of a sequence go along its positions, or along pairs of them",
            f"{name} of shape {array.shape} for {subject.batch} x {subject.length} positions",
            "Give the borders of documents as position_ids, as a mask, or as cu_seqlens",
        )
    return array


def is_of_pairs(subject: Subject, name: str, array: Array) -> bool:
    """Whether an input has an entry for each pair of positions; as many sequences as positions are none."""
    square = name != subject.vary and array.shape[-2:] == (subject.length, subject.length)
    return square and (array.ndim > 2 or not subject._goes_along(name, array))


def _is_unknown(subject: Subject, name: str, array: Array) -> bool:
    """Whether an input may count positions or documents in a way that is not known."""
    if name.startswith(LONGEST) or array.ndim == 0 or array.shape[:2] == (subject.batch, subject.length):
        return False
    counts = array.ndim == 1 and array.dtype.kind in "iu" and array.shape != (subject.batch,)
    return counts or subject.length in array.shape
