"""Look-ups in the user's tensors and arrays: ``ids[q]``, ``ids[b, q]``, ``ids[b][q]``, ``ids[:, q]``, ``pos[b].squeeze(-1)``."""

from __future__ import annotations

import math
from typing import Any

from attnmask.define.language import Lookup, Node
from attnmask.define.tables import Table
from attnmask.define.tracing.dtypes import FLOATS, LIMIT, RANGES, check_range, dtype_name
from attnmask.define.tracing.reals import Real, real
from attnmask.define.tracing.values import SEEN, Traced, Value, is_truth, number, traced_truth

MOST_FLOATS, FINEST = 8, 1024  # different entries of a float table; they are whole numbers over this one


class Rows(Value):
    """An array looked up along some axes: those come first, and ``at`` says where; the others are waiting."""

    __slots__ = ("array", "at", "dtype")

    def __init__(self, array: Any, dtype: str, at: tuple[Traced, ...] = ()) -> None:
        self.array = array
        self.dtype = dtype
        self.at = at

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that is left."""
        return tuple(int(size) for size in self.array.shape[len(self.at) :])

    def __getitem__(self, at: Any) -> Any:
        places = _spelled_out(at if isinstance(at, tuple) else (at,), len(self.shape))
        traced = tuple(number(place) for place in places if isinstance(place, Traced))
        array, axes = _fixed(self.array, len(self.at), places)
        order = [*range(len(self.at)), *axes]
        order += [axis for axis in range(array.ndim) if axis not in order]
        return looked_up(array.transpose(order), self.dtype, (*self.at, *traced))

    def reshaped(self, shape: tuple[int, ...]) -> Any:
        """The same entries in another shape."""
        return looked_up(self.array.reshape(self.array.shape[: len(self.at)] + shape), self.dtype, self.at)

    def squeezed(self, axis: int | None = None) -> Any:
        """Without its axes of size 1, or without this one if it has size 1."""
        rest = self.shape
        gone = range(len(rest)) if axis is None else (axis % max(len(rest), 1),)
        return self.reshaped(tuple(size for place, size in enumerate(rest) if place not in gone or size != 1))

    def cast(self, name: str) -> Rows:
        """The same entries in another dtype."""
        if name not in (*RANGES, *FLOATS, "bool"):
            raise TypeError(f"a cast to {name} is not in the language: write .long(), .bool() or .float()")
        if name in RANGES and self.array.size:
            check_range(name, (int(self.array.min()), int(self.array.max())))
        return Rows(self.array.astype(name), name, self.at)

    def refusal(self) -> TypeError:
        """What to say when it is used as a number."""
        return TypeError(f"a row of shape {self.shape} is used as a whole; look it up by position, as in tensor[b, q]")


def _spelled_out(places: tuple[Any, ...], axes: int) -> list[Any]:
    """One place for each axis: ``...`` and axes that are not mentioned become ``:``."""
    named = sum(place is not None and place is not Ellipsis for place in places)
    if named > axes:
        raise TypeError(f"{named} positions for an array of {axes} axes")
    full = [slice(None)] * (axes - named)
    if not any(place is Ellipsis for place in places):
        return [*places, *full]
    cut = next(i for i, place in enumerate(places) if place is Ellipsis)
    return [*places[:cut], *full, *places[cut + 1 :]]


def _fixed(array: Any, skipped: int, places: list[Any]) -> tuple[Any, list[int]]:
    """The array at the places that are known, and the axes that the traced places belong to then."""
    known: list[Any] = [slice(None)] * skipped
    axes, axis = [], skipped
    for place in places:
        if is_truth(place) or (isinstance(place, Value) and not isinstance(place, Traced)):
            raise TypeError("a look-up is made by whole numbers: torch.where(mask, x, y) chooses by a truth value")
        traced = isinstance(place, Traced)
        if traced:
            axes.append(axis)
        elif not (place is None or isinstance(place, (int, slice))) and not hasattr(place, "__index__"):
            raise TypeError(f"{type(place).__name__} {place!r} is no position")
        known.append(slice(None) if traced else place if place is None or isinstance(place, slice) else int(place))
        axis += traced or place is None or isinstance(place, slice)
    return array[tuple(known)], axes


def looked_up(array: Any, dtype: str, at: tuple[Traced, ...]) -> Any:
    """The entry if every axis is looked up, else the rows."""
    places = tuple(place.node for place in at)
    if len(at) < array.ndim:
        if at:
            _entry(array.any(tuple(range(len(at), array.ndim))), places)  # notes how far these positions go
        return Rows(array, dtype, at)
    if dtype.startswith("float"):
        return _floats(array, places)
    entry = _entry(array, places)
    return traced_truth(entry) if entry.table.kind == "bool" else Traced(entry, entry.table.bounds, dtype)


def _entry(array: Any, places: tuple[Node, ...]) -> Lookup:
    known, table = SEEN.get().lookups, Table.of(array)
    entry = Lookup(next((other.table for other in known if other.table == table), table), places)
    known.append(entry)
    return entry


def _floats(array: Any, places: tuple[Node, ...]) -> Real:
    """The entry of a float table of whole numbers, or of a few others such as 0 and -inf: one case for each."""
    found = set(array.ravel().tolist())
    if all(abs(number) < LIMIT and number == int(number) for number in found):
        entry = _entry(array.astype("int64"), places)
        return real(Traced(entry, entry.table.bounds, "wide"))
    if len(found) > MOST_FLOATS or not all(math.isinf(number) or number * FINEST % 1 == 0 for number in found):
        Table.of(array)  # refuses floats
    cases = [(traced_truth(_entry(array == number, places)), number) for number in sorted(found)]
    return Real([(condition, leaf) for condition, number in cases for _, leaf in real(number).cases])


def rows_of(tensor: Any) -> Rows:
    """A tensor of torch, or an array of NumPy or JAX, of which nothing is looked up yet."""
    array = tensor.detach().cpu().numpy() if hasattr(tensor, "detach") else tensor.__array__()
    return Rows(array, dtype_name(str(array.dtype)))
