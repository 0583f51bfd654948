"""A model together with its inputs, ready to be run on many variants of one sequence at once.

``Subject`` takes any callable over arrays. ``attnmask.verify.torch.subject`` adds what only a torch module allows: fresh
weights, float64, gradients and a look inside.
"""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import InputError
from attnmask.verify.arrays import Array, is_array, like, main_output, to_numpy, unit_of

COPIES = 64  # variants of a sequence per run

MAIN_INPUTS = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")

# The names of padding masks in the signatures of models, and whether True (1) means a real token.
PADDING_INPUTS: dict[str, dict[str, bool]] = {
    "decoder_input_ids": {"decoder_attention_mask": True},
    "input_ids": {"attention_mask": True},
    "inputs_embeds": {"attention_mask": True},
    "src": {"src_key_padding_mask": False},
}
DECODER = "decoder_"
DESCRIBING = ("mask", "position", "segment", "type", "document", "pad")  # in names of what describes positions

# Names of padding masks beside any input, if they have its shape.
PADDING_NAMES = {"attention_mask": True, "key_padding_mask": False, "src_key_padding_mask": False}


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
        self.words: NDArray[np.int64] | None = None  # that content is drawn from, if it is said
        self.at_once = COPIES
        self.seed = 0  # of what the model draws itself
        self._unit = unit_of(self.arrays[self.vary])
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
    def vocabulary(self) -> NDArray[np.int64]:
        """Ids that stand for content: all up to the largest given one."""
        return np.arange(max(int(self.arrays[self.vary].max()) + 1, 2)) if self.words is None else self.words

    @cached_property
    def queries(self) -> int:
        """The number of output positions."""
        return len(self.alone(0))

    @property
    def unit(self) -> float:
        """The relative rounding of the number format that it computes in."""
        return self._unit

    def in_double(self) -> Subject | None:
        """The same subject in float64; None where that is not known to be possible."""
        return None

    def exact(self) -> Subject:
        """The same subject in float64, if it runs in it."""
        return self._exact

    @cached_property
    def _exact(self) -> Subject:
        double = self.in_double()
        try:
            if double is not None:
                double.alone(0)
        except RuntimeError:  # a kernel without float64
            return self
        return double or self

    @cached_property
    def draws(self) -> bool:
        """Whether the model draws random numbers: runs of other shapes can then not be compared."""
        other = self.with_inputs()
        other.seed = self.seed + 1
        return not np.array_equal(self.alone(0), other.alone(0), equal_nan=True)

    def gradients(self, sequence: int, groups: NDArray[np.bool_], seed: int) -> NDArray[np.float64] | None:
        """How strongly each group of outputs depends on each position (groups, keys); None without derivatives."""
        return None

    def first_change(
        self, before: dict[str, Array], after: dict[str, Array], place: int, query: int, tolerance: float = 0.0
    ) -> str | None:
        """The first part of the model whose output at a place of the batch changes, at a position, although its inputs do not.

        Args:
            before: all inputs of one run.
            after: those of another, perhaps of another length.
            place: in the batch.
            query: the position.
            tolerance: beside the largest number of an output, what is no change.
        """
        return None

    def first_nan(self, sequence: int) -> str | None:
        """The first part of the model that gives NaN."""
        return None

    def moved(self, sequence: int, positions: NDArray[np.bool_], size: float, seed: int) -> Array | None:
        """How the output of a sequence moves when content of this size is added at positions: (queries, features)."""
        if self.holds_ids:
            return None
        arrays = self.copies(sequence, 1)
        noise = np.random.default_rng(seed).normal(0.0, size, arrays[self.vary].shape)
        added = {**arrays, self.vary: arrays[self.vary] + np.where(positions[None, :, None], noise, 0.0)}
        return np.asarray(self.run(added)[0] - self.run(arrays)[0])

    def with_inputs(self, **changed: Array) -> Subject:
        """The same subject with other or more named inputs."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.arrays = {**self.arrays, **changed}
        for known in ("queries", "draws", "_exact", "_alone"):
            other.__dict__.pop(known, None)
        return other

    def at_length(self, length: int, seed: int) -> Subject:
        """The same subject with inputs of another length: cut, or continued by random content."""
        if length <= self.length:
            return self.cut(length)
        self._check_lengthened()
        more, arrays = length - self.length, dict(self.arrays)
        for name, array in self.arrays.items():
            if self._goes_along(name, array):
                arrays[name] = np.concatenate([array, np.repeat(array[:, -1:], more, axis=1)], axis=1)
        other = self.with_inputs(**arrays)
        new = np.broadcast_to(np.arange(length) >= self.length, (other.batch, length))
        other.arrays[self.vary] = other._replaced(other.arrays[self.vary], new, np.random.default_rng(seed))
        return other

    def cut(self, length: int) -> Subject:
        """The same subject with the first positions only."""
        self._check_lengthened()
        return self.with_inputs(
            **{
                name: array[:, :length] if self._goes_along(name, array) else array
                for name, array in self.arrays.items()
            }
        )

    def _goes_along(self, name: str, array: Array) -> bool:
        """Whether an input has one entry for each position of the varied one: its masks and positions, no other content."""
        if name == self.vary:
            return True
        sides = {one.startswith(DECODER) for one in self.arrays}
        other_side = len(sides) == 2 and name.startswith(DECODER) != self.vary.startswith(DECODER)
        described = array.dtype.kind == "b" or any(word in name for word in DESCRIBING)
        described = described or bool(np.isin(array, (0, 1)).all())
        return array.shape[:2] == (self.batch, self.length) and described and not other_side

    def _check_lengthened(self) -> None:
        odd = [
            f"{name} of shape {array.shape}"
            for name, array in self.arrays.items()
            if array.shape[:2] != (self.batch, self.length) and self.length in array.shape
        ]
        if odd:
            raise InputError(
                "inputs of other lengths are made where positions are the second axis",
                ", ".join(odd),
                "Check each length on its own",
            )

    def in_training(self) -> Subject | None:
        """The same subject in training mode; None where there is none."""
        return None

    def with_weights(self, times: float) -> Subject | None:
        """The same subject with all matrices of weights larger; None where it has none."""
        return None

    def without(self, name: str) -> Subject:
        """The same subject without one of its inputs."""
        other = self.with_inputs()
        other.arrays = {key: array for key, array in self.arrays.items() if key != name}
        other.inputs = {key: value for key, value in self.inputs.items() if key != name}
        return other

    def in_format(self, name: str) -> Subject | None:
        """The same subject with weights in another number format; None where it has no weights, or this format."""
        return None

    def first_cache_difference(self, chunks: list[int]) -> tuple[int, float] | None:
        """The position at which decoding in chunks departs from one pass, and how far; None if it does not."""
        return None

    def with_words(self, words: NDArray[np.int64]) -> Subject:
        """The same subject, whose content is drawn from these ids."""
        other = self.with_inputs()
        other.words = words
        return other

    @property
    def special(self) -> NDArray[np.int64]:
        """Ids that are known not to stand for content."""
        return np.zeros(0, np.int64)

    def first_mixing(self, before: dict[str, Array], after: dict[str, Array], place: int) -> str | None:
        """The first part of the model whose output changes at a place of the batch although its inputs there do not."""
        return None

    def copies(self, sequence: int, count: int) -> dict[str, Array]:
        """All arrays, holding ``count`` copies of one sequence."""
        return {
            name: np.repeat(array[sequence : sequence + 1], count, axis=0) if self._has_batch(name, array) else array
            for name, array in self.arrays.items()
        }

    def alone(self, sequence: int) -> Array:
        """The output of one sequence as it is given, (rows, features), which is computed once."""
        if sequence not in self._alone:
            self._alone[sequence] = self.run(self.copies(sequence, 1))[0]
        return self._alone[sequence]

    @cached_property
    def _alone(self) -> dict[int, Array]:
        return {}

    def resampled(self, sequence: int, positions: NDArray[np.bool_], seed: int) -> dict[str, Array]:
        """Copies of a sequence, each with fresh random content at its own positions (count, length)."""
        draw = np.random.default_rng(seed)
        arrays = self.copies(sequence, len(positions))
        arrays[self.vary] = self._replaced(arrays[self.vary], positions, draw)
        return arrays

    def _replaced(self, array: Array, positions: NDArray[np.bool_], draw: np.random.Generator) -> Array:
        if self.holds_ids:
            words = self.vocabulary
            drawn = draw.integers(0, len(words), array.shape)
            drawn = np.where(words[drawn] == array, (drawn + 1) % len(words), drawn)  # never the old id
            return np.where(positions, words[drawn], array).astype(array.dtype)
        scale = max(1.0, float(np.abs(array).max()))
        noise = draw.normal(0.0, scale, array.shape)
        return np.where(positions[..., None], noise, array).astype(array.dtype)

    def run(self, arrays: dict[str, Array]) -> Array:
        """The output as float64 (batch, rows, features)."""
        with repeatable(self.seed):
            given = self.output(self.call(self.native(arrays)))
        self._unit = unit_of(given)
        result = to_numpy(given)
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

    def _has_batch(self, name: str, array: Array) -> bool:
        """Whether an input has a row for each sequence; a square of positions is a mask of pairs, in a batch of any size."""
        pairs = array.shape == (self.length, self.length) and name != self.vary and name not in PADDING_NAMES
        return bool(array.ndim and array.shape[0] == self.batch and not pairs)

    def native(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """All inputs in the library they were given in."""
        return {
            name: like(arrays[name], value) if name in arrays else _own(value)
            for name, value in self._given(arrays).items()
        }

    def _given(self, arrays: dict[str, Array]) -> dict[str, Any]:
        return {**self.inputs, **{name: self.inputs.get(name, self.inputs[self.vary]) for name in arrays}}

    def call(self, inputs: dict[str, Any]) -> Any:
        """The model's result."""
        return self.model(**inputs) if self.named else self.model(inputs["inputs"])


def _own(value: Any) -> Any:
    """A copy of what a call may change, such as a cache; what cannot be copied is shared."""
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def _varied(inputs: dict[str, Any], vary: str | None) -> str:
    arrays = [name for name, value in inputs.items() if is_array(value)]
    if not arrays or vary not in (None, *arrays):
        raise InputError(
            "the input to vary is an array among the inputs",
            f"{vary or 'no array'} among {list(inputs)}",
            f"Choose one of {arrays}",
        )
    return vary or next((name for name in MAIN_INPUTS if name in arrays), arrays[0])


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Let random numbers of Python, NumPy and torch be the same in each run, and the caller's be untouched."""
    torch = sys.modules.get("torch")
    states = random.getstate(), np.random.get_state(), None if torch is None else torch.random.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    if torch is not None:
        torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        if torch is not None:
            torch.random.set_rng_state(states[2])
