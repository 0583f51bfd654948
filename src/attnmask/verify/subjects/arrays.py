"""Arrays of any library: as NumPy, back again, and found in what a model gives."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import InputError

Array = NDArray[Any]


def unit_of(value: Any) -> float:
    """The relative rounding of an array's number format."""
    name = str(getattr(value, "dtype", "float64")).rpartition(".")[2]
    return {"bfloat16": 2.0**-8, "float16": 2.0**-11, "float32": 2.0**-24}.get(name, 2.0**-53)


def is_array(value: Any) -> bool:
    """Whether a value is an array of any library."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def to_numpy(value: Any, *, wide: bool = True) -> Array:
    """Any library's array as NumPy; floats in float64, or if they need not be wide in float32 where that holds them."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        narrow = not wide and value.is_floating_point() and value.element_size() <= 4
        value = value.float() if narrow else value.double() if value.is_floating_point() else value
        return np.asarray(value.numpy())
    array = np.asarray(value)
    if array.dtype.kind in "biu":
        return array
    return array.astype(np.float32 if not wide and array.dtype.itemsize <= 4 else np.float64, copy=False)


def like(array: Array, original: Any) -> Any:
    """A NumPy array as the library of another one; floating-point numbers also take its type."""
    root = type(original).__module__.partition(".")[0]
    floats = array.dtype.kind == "f"
    if root == "torch":
        tensor = sys.modules["torch"].from_numpy(np.ascontiguousarray(array)).to(original.device)
        return tensor.to(original.dtype) if floats and original.is_floating_point() else tensor
    if root in ("jax", "jaxlib"):
        return sys.modules["jax.numpy"].asarray(array, dtype=original.dtype if floats else None)
    return array.astype(original.dtype) if floats else array


def library_of(model: Any, inputs: Any) -> str:
    """Which library a model and its inputs belong to: ``"torch"``, ``"jax"``, or ``"numpy"`` for all others."""
    if hasattr(model, "named_parameters"):
        return "torch"
    given = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
    roots = {type(value).__module__.partition(".")[0] for value in given}
    classes = {part.__module__.partition(".")[0] for part in type(model).__mro__}
    if "torch" in roots:
        return "torch"
    keras = sys.modules.get("keras")
    on_jax = "keras" in classes and keras is not None and keras.backend.backend() == "jax"
    return "jax" if roots & {"jax", "jaxlib"} or "flax" in classes or on_jax else "numpy"


def main_output(result: Any) -> Any:
    """The array that a model's result is about: itself, its logits or last hidden state, or its first with rows."""
    if is_array(result):
        return result
    for name in ("logits", "last_hidden_state"):
        if is_array(getattr(result, name, None)):
            return getattr(result, name)
    found = next((array for array in _arrays(result) if array.ndim > 1), None)
    if found is None:
        raise InputError("the model gives an array", type(result).__name__, "Choose it with output=lambda result: ...")
    return found


def _arrays(result: Any) -> Iterator[Any]:
    """All arrays in a result, those in its parts too."""
    if is_array(result):
        yield result
    elif isinstance(result, (Mapping, tuple, list)):
        for part in result.values() if isinstance(result, Mapping) else result:
            yield from _arrays(part)
    elif dataclasses.is_dataclass(result):
        for field in dataclasses.fields(result):
            yield from _arrays(getattr(result, field.name))
