"""A model together with its inputs, ready to be run on many variants of one sequence at once.

``Subject`` takes any callable over arrays. ``attnmask.verify.torch.subject`` adds what only a torch module allows: fresh
weights, float64, gradients and a look inside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import InputError

Array = NDArray[Any]

MAIN_INPUTS = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")

# The names of padding masks in the signatures of models, and whether True (1) means a real token.
PADDING_INPUTS: dict[str, dict[str, bool]] = {
    "decoder_input_ids": {"decoder_attention_mask": True},
    "input_ids": {"attention_mask": True},
    "inputs_embeds": {"attention_mask": True},
    "src": {"src_key_padding_mask": False},
}


class Subject:
    """Runs a callable on copies of one sequence in which some positions are replaced.

    Args:
        model: called with the one array, or with the dict as keyword arguments.
        inputs: token ids (batch, length) or (length,), embeddings (batch, length, dim), or a dict of named inputs.
        vary: which named input the probes change; by default the decoder's, else the main one.
        output: takes the model's result to an array (batch, rows, ...).
    """

    def __init__(
        self,
        model: Callable[..., Any],
        inputs: Any,
        vary: str | None = None,
        output: Callable[[Any], Any] | None = None,
    ) -> None:
        self.model = model
        self.named = isinstance(inputs, Mapping)
        self.inputs: dict[str, Any] = dict(inputs) if self.named else {"inputs": inputs}
        self.vary = _varied(self.inputs, vary)
        self.output = output or main_output
        self.arrays = {name: to_numpy(value) for name, value in self.inputs.items() if is_array(value)}
        if self.arrays[self.vary].ndim == 1:
            self.arrays = {name: array[None] for name, array in self.arrays.items()}
        self._check()

    def _check(self) -> None:
        array = self.arrays[self.vary]
        expected = 2 if self.holds_ids else 3
        if array.ndim != expected or array.shape[1] < 2:
            raise InputError(
                "inputs are token ids (batch, length) or embeddings (batch, length, dim), at least 2 positions long",
                f"{self.vary} {array.dtype} of shape {array.shape}",
                "Give integer ids, or floats with a feature axis, for example inputs[None]",
            )

    @property
    def holds_ids(self) -> bool:
        """Whether the varied input is token ids rather than embeddings."""
        return self.arrays[self.vary].dtype.kind in "iu"

    @property
    def batch(self) -> int:
        """The number of sequences given."""
        return int(self.arrays[self.vary].shape[0])

    @property
    def length(self) -> int:
        """The number of positions of the varied input."""
        return int(self.arrays[self.vary].shape[1])

    @property
    def vocabulary(self) -> int:
        """Ids that may be drawn: 0 .. vocabulary - 1."""
        return max(int(self.arrays[self.vary].max()) + 1, 2)

    def with_inputs(self, **changed: Array) -> Subject:
        """The same subject with other or more named inputs."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.arrays = {**self.arrays, **changed}
        return other

    def copies(self, row: int, count: int) -> dict[str, Array]:
        """All arrays, holding ``count`` copies of one sequence."""
        batch = self.batch
        return {
            name: np.repeat(array[row : row + 1], count, axis=0) if array.ndim and array.shape[0] == batch else array
            for name, array in self.arrays.items()
        }

    def resampled(self, row: int, positions: NDArray[np.bool_], seed: int) -> dict[str, Array]:
        """Copies of a sequence, each with fresh random content at its own positions (count, length)."""
        random = np.random.default_rng(seed)
        arrays = self.copies(row, len(positions))
        arrays[self.vary] = self._replaced(arrays[self.vary], positions, random)
        return arrays

    def _replaced(self, array: Array, positions: NDArray[np.bool_], random: np.random.Generator) -> Array:
        if self.holds_ids:
            drawn = random.integers(0, self.vocabulary - 1, array.shape)
            return np.where(positions, drawn + (drawn >= array), array).astype(array.dtype)  # never the old id
        scale = max(1.0, float(np.abs(array).max()))
        noise = random.normal(0.0, scale, array.shape)
        return np.where(positions[..., None], noise, array).astype(array.dtype)

    def run(self, arrays: dict[str, Array]) -> Array:
        """The output as float64 (batch, rows, features)."""
        result = to_numpy(self.output(self.call(self.native(arrays))))
        batch = arrays[self.vary].shape[0]
        if result.ndim < 2 or result.shape[0] != batch or (result.ndim == 2 and not self._rows_ok(result)):
            raise InputError(
                "the output has one row per position: (batch, rows, ...)",
                f"shape {result.shape} for {batch} sequences of {self.length}",
                "Choose it with output=lambda result: result.last_hidden_state, or audit a model without pooling",
            )
        return result.reshape(batch, result.shape[1], -1)

    def _rows_ok(self, result: Array) -> bool:
        return bool(result.shape[1] == self.length)

    def native(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """All inputs in the library they were given in."""
        return {
            name: like(arrays[name], value) if name in arrays else value for name, value in self._given(arrays).items()
        }

    def _given(self, arrays: dict[str, Array]) -> dict[str, Any]:
        return {**self.inputs, **{name: self.inputs.get(name, self.inputs[self.vary]) for name in arrays}}

    def call(self, inputs: dict[str, Any]) -> Any:
        """The model's result."""
        return self.model(**inputs) if self.named else self.model(inputs["inputs"])


def _varied(inputs: dict[str, Any], vary: str | None) -> str:
    arrays = [name for name, value in inputs.items() if is_array(value)]
    if not arrays or vary not in (None, *arrays):
        raise InputError(
            "the input to vary is an array among the inputs",
            f"{vary or 'no array'} among {list(inputs)}",
            f"Choose one of {arrays}",
        )
    return vary or next((name for name in MAIN_INPUTS if name in arrays), arrays[0])


def is_array(value: Any) -> bool:
    """Whether a value is an array of any library."""
    return hasattr(value, "shape") and hasattr(value, "dtype")


def to_numpy(value: Any) -> Array:
    """Any library's array as NumPy; floats as float64."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
        return np.asarray(value.numpy())
    array = np.asarray(value)
    return array.astype(np.float64) if array.dtype.kind not in "biu" else array


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


def main_output(result: Any) -> Any:
    """The array that a model's result is about: itself, its logits or last hidden state, or its first array."""
    if is_array(result):
        return result
    for name in ("logits", "last_hidden_state"):
        if is_array(getattr(result, name, None)):
            return getattr(result, name)
    values = (
        list(result.values())
        if isinstance(result, Mapping)
        else list(result)
        if isinstance(result, (tuple, list))
        else []
    )
    found = next((value for value in values if is_array(value)), None)
    if found is None:
        raise InputError("the model gives an array", type(result).__name__, "Choose it with output=lambda result: ...")
    return found
