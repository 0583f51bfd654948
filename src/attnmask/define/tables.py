"""Named tables: frozen arrays of integers or booleans that a mask looks up by position.

A table holds its numbers as bytes, so that ``define`` needs no array library, masks hash and compare by
content, and the later stages can view the same memory without a copy.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from attnmask.errors import MaskError

Kind = Literal["bool", "int"]
MOST = (1 << 63) - 1  # the largest entry
ITEM_BYTES: dict[Kind, int] = {"bool": 1, "int": 8}  # uint8 and little-endian int64


@dataclass(frozen=True)
class Table:
    """An immutable array of integers (int64) or booleans, compared by content.

    >>> Table.of([[1, 2, 3], [4, 5, 6]]).shape
    (2, 3)
    >>> Table.of([1, 2]) == Table.of((1, 2))
    True
    >>> Table.of([0.0, 1.0])
    Traceback (most recent call last):
    attnmask.errors.MaskError: a table holds integers or booleans; got float64 values. Write array.astype(bool) for a mask, array.astype(int) for positions, ids or lengths.
    """

    kind: Kind
    shape: tuple[int, ...]
    data: bytes = field(repr=False)
    # "length" marks a table whose entries may not exceed the frame's kv_len; no part of its identity.
    role: str = field(default="value", compare=False, repr=False)

    @classmethod
    def of(cls, value: Any, *, role: str = "value") -> Table:
        """Freeze nested lists, or any array of NumPy, torch or JAX; a table stays as it is."""
        if isinstance(value, Table):
            return value if role == "value" else replace(value, role=role)
        if hasattr(value, "detach"):  # a torch tensor
            value = value.detach().cpu().numpy()
        if hasattr(value, "__array__"):  # NumPy, and what turns into it: JAX would not give 64 bits itself
            return cls._from_array(value.__array__(), role)
        shape, items = _flatten(value)
        kinds = {type(item) for item in items}
        if kinds == {bool}:
            return cls("bool", shape, bytes(items), role)
        if kinds <= {int}:
            return cls("int", shape, _packed(items), role)
        raise _wrong_items("float64" if float in kinds else " and ".join(sorted(kind.__name__ for kind in kinds)))

    @classmethod
    def _from_array(cls, value: Any, role: str) -> Table:
        name = str(value.dtype)
        shape = tuple(int(size) for size in value.shape)
        if name == "bool":
            return cls("bool", shape, value.astype("uint8").tobytes(), role)
        if name.startswith(("int", "uint")):
            if name == "uint64" and value.size and int(value.max()) > MOST:
                raise _too_large(int(value.max()))
            return cls("int", shape, value.astype("<i8").tobytes(), role)
        raise _wrong_items(name)

    def __post_init__(self) -> None:
        if len(self.data) != self.size * ITEM_BYTES[self.kind]:
            raise MaskError(
                f"a table of shape {self.shape} holds {self.size} entries",
                f"{len(self.data)} bytes for kind {self.kind!r}",
                "Make it with Table.of(array)",
            )

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def items(self) -> Sequence[int]:
        """All entries in row-major order, without a copy."""
        view = memoryview(self.data)
        return view if self.kind == "bool" else view.cast("q")

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest entry; (0, 0) for a table without entries."""
        return (min(self.items), max(self.items)) if self.size else (0, 0)

    def tolist(self) -> Any:
        """Nested lists, booleans as True and False."""
        convert = bool if self.kind == "bool" else int
        return _nest([convert(item) for item in self.items], self.shape)

    def __getitem__(self, at: tuple[int, ...]) -> int:
        """One entry, as an integer."""
        offset = 0
        for position, size in zip(at, self.shape, strict=True):
            offset = offset * size + position
        return self.items[offset]

    def row(self, place: int) -> Table:
        """The entries at one position of the first axis."""
        step = len(self.data) // self.shape[0]
        return Table(self.kind, self.shape[1:], self.data[place * step : (place + 1) * step], self.role)

    def __hash__(self) -> int:
        return hash((self.kind, self.shape, self.data))  # CPython caches the hash of bytes


@dataclass(frozen=True)
class SparseTable(Table):
    """A boolean matrix of which only the true entries are stored: ``row * columns + column``, sorted, as int64.

    >>> SparseTable.of_codes([0 * 3 + 2, 1 * 3 + 0], (2, 3)).tolist()
    [[False, False, True], [True, False, False]]
    """

    @classmethod
    def of_codes(cls, codes: Iterable[int], shape: tuple[int, int]) -> SparseTable:
        """The matrix that is true at codes ``row * columns + column``."""
        return cls("bool", shape, array("q", sorted(set(codes))).tobytes())

    def __post_init__(self) -> None:
        codes = self.codes
        if len(self.shape) != 2 or (len(codes) and not 0 <= codes[0] <= codes[-1] < self.size):
            raise MaskError(
                "the pairs of a sparse table lie inside its shape",
                f"shape {self.shape}, codes {list(codes[:3])} ... {list(codes[-1:])}",
                "Make it with SparseTable.of_codes(codes, shape)",
            )

    @property
    def codes(self) -> Sequence[int]:
        """The stored entries, without a copy."""
        return memoryview(self.data).cast("q")

    @property
    def items(self) -> Sequence[int]:
        return [int(self[row, column]) for row in range(self.shape[0]) for column in range(self.shape[1])]

    @cached_property
    def bounds(self) -> tuple[int, int]:
        return (int(len(self.codes) == self.size), int(len(self.codes) > 0))

    def __getitem__(self, at: tuple[int, ...]) -> int:
        code = at[0] * self.shape[1] + at[1]
        place = bisect_left(self.codes, code)
        return int(place < len(self.codes) and self.codes[place] == code)

    def __hash__(self) -> int:
        return hash((SparseTable, self.shape, self.data))


def _packed(items: Sequence[int]) -> bytes:
    try:
        return array("q", items).tobytes()
    except OverflowError:
        raise _too_large(max(items, key=abs)) from None


def _too_large(entry: int) -> MaskError:
    return MaskError("the entries of a table have 64 bits", str(entry), "Number documents and positions from 0")


def _wrong_items(name: str) -> MaskError:
    return MaskError(
        "a table holds integers or booleans",
        f"{name} values",
        "Write array.astype(bool) for a mask, array.astype(int) for positions, ids or lengths",
    )


def _flatten(value: Any) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and row-major items of nested sequences; ragged ones are refused."""
    if hasattr(value, "tolist"):  # an array among the rows of a list
        value = value.tolist()
    if not isinstance(value, (list, tuple, range)):
        if not isinstance(value, (bool, int, float)):
            raise _wrong_items(type(value).__name__)
        return (), [value]
    if set(map(type, value)) <= {bool, int, float}:
        return (len(value),), list(value)
    parts = [_flatten(part) for part in value]
    shapes = {shape for shape, _ in parts}
    if len(shapes) > 1:
        raise MaskError(
            "all rows of a table have one shape",
            f"rows of shapes {sorted(shapes)}",
            "Fill the short rows up, or describe ragged batches by their lengths",
        )
    inner = shapes.pop() if shapes else ()
    return (len(parts), *inner), [item for _, items in parts for item in items]


def _nest(items: list[Any], shape: tuple[int, ...]) -> Any:
    if not shape:
        return items[0]
    if len(shape) == 1:
        return items
    step = math.prod(shape[1:])
    return [_nest(items[row * step : (row + 1) * step], shape[1:]) for row in range(shape[0])]
