"""``Inputs``: what a model is called with, and variants of it: copies of a sequence, other content, other lengths."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import InputError
from attnmask.verify.subjects.arrays import Array, is_array, like, to_numpy
from attnmask.verify.subjects.layout import Layout, usual

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

Self = TypeVar("Self", bound="Inputs")


class Inputs:
    """Named inputs as arrays (batch, positions, ...), whatever their axes are; some of them are varied.

    Args:
        inputs: token ids (batch, length) or (length,), embeddings (batch, length, dim), or a dict of named inputs.
        vary: which named input the probes change; by default the decoder's, else the main one. Of several, all are
            changed at the same positions, and the first is the main one.
        layout: the axes of the varied inputs, and of all that have the same axes; by default the usual ones.
    """

    def __init__(self, inputs: Any, vary: str | Sequence[str] | None = None, layout: Layout | None = None) -> None:
        self.named = isinstance(inputs, Mapping)
        self.inputs = with_arrays(dict(inputs) if self.named else {"inputs": inputs}, vary)
        self.varied = _varied(self.inputs, vary)
        self.vary = self.varied[0]
        originals = {name: to_numpy(value) for name, value in self.inputs.items() if is_array(value)}
        if originals[self.vary].ndim == 1:
            originals = {name: array[None] for name, array in originals.items()}
        self.words: NDArray[np.int64] | None = None  # that content is drawn from, if it is said
        self.loudness = 1.0  # of drawn floats, beside the largest given one
        self._place(originals, layout or usual(originals[self.vary], channels_first=self._channels_first))

    def _place(self, originals: dict[str, Array], layout: Layout) -> None:
        """Take arrays in their own layout."""
        main = originals[self.vary]
        if not layout.fits(main) or main.shape[layout.batch] == 0 or np.prod(layout.sizes(main)) < 2:
            raise InputError(
                "inputs are token ids (batch, length) or embeddings (batch, length, dim), at least 2 positions long",
                f"{self.vary} {main.dtype} of shape {main.shape}",
                "Give integer ids, or floats with a feature axis, for example inputs[None]; "
                "other axes are said by batch_axis= and length_axis=",
            )
        self.layout, self.sizes = layout, layout.sizes(main)
        self.laid_out = frozenset(name for name, array in originals.items() if _alike(array, main, layout))
        self.arrays = {
            name: layout.inside(array) if name in self.laid_out else array for name, array in originals.items()
        }

    @property
    def _channels_first(self) -> bool:
        """Whether images are (batch, channels, rows, columns)."""
        return self.vary == "pixel_values"

    def relaid(self: Self, layout: Layout) -> Self:
        """The same inputs, read in another layout."""
        other = self.with_inputs()
        other._place({name: self._outside(name, array) for name, array in self.arrays.items()}, layout)
        return other

    @property
    def original(self) -> Array:
        """The varied input in its own layout."""
        return self._outside(self.vary, self.arrays[self.vary])

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

    @property
    def special(self) -> NDArray[np.int64]:
        """Ids that are known not to stand for content."""
        return np.zeros(0, np.int64)

    def with_inputs(self: Self, **changed: Array) -> Self:
        """The same with other or more named inputs."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.arrays = {**self.arrays, **changed}
        for known in ("queries", "draws", "mixes", "_exact", "_alone"):
            other.__dict__.pop(known, None)
        return other

    def without(self: Self, name: str) -> Self:
        """The same without one of its inputs."""
        other = self.with_inputs()
        other.arrays = {key: array for key, array in self.arrays.items() if key != name}
        other.inputs = {key: value for key, value in self.inputs.items() if key != name}
        return other

    def with_words(self: Self, words: NDArray[np.int64]) -> Self:
        """The same, whose content is drawn from these ids."""
        other = self.with_inputs()
        other.words = words
        return other

    def louder(self: Self, times: float) -> Self:
        """The same, whose drawn floats are so many times larger."""
        other = self.with_inputs()
        other.loudness = times
        return other

    def with_option(self: Self, name: str, value: Any) -> Self:
        """The same with an argument that is no array."""
        other = self.with_inputs()
        other.inputs = {**self.inputs, name: value}
        return other

    def at_length(self: Self, length: int, seed: int) -> Self:
        """The same at another length: cut, or continued by random content."""
        if length <= self.length:
            return self.cut(length)
        self._check_lengthened()
        if any(self._is_of_pairs(name, array) for name, array in self.arrays.items()):
            raise InputError("masks of pairs are known at one length", f"length {length}", "Give inputs of that length")
        more, arrays = length - self.length, dict(self.arrays)
        for name, array in self.arrays.items():
            if self._goes_along(name, array):
                arrays[name] = np.concatenate([array, np.repeat(array[:, -1:], more, axis=1)], axis=1)
        other = self.with_inputs(**arrays)
        new = np.broadcast_to(np.arange(length) >= self.length, (other.batch, length))
        return other.with_inputs(**other._replaced(other.arrays, new, np.random.default_rng(seed)))

    def cut(self: Self, length: int) -> Self:
        """The same with the first positions only."""
        pairs = {name for name, array in self.arrays.items() if self._is_of_pairs(name, array)}
        self._check_lengthened(pairs)
        along = {name for name, array in self.arrays.items() if self._goes_along(name, array)} - pairs
        return self.with_inputs(
            **{name: self.arrays[name][:, :length] for name in along},
            **{name: self.arrays[name][..., :length, :length] for name in pairs},
        )

    def of_batch(self: Self, count: int, seed: int) -> Self:
        """The same with so many sequences: the first ones, or more of random content."""
        rows = np.arange(count) % self.batch
        arrays = {name: array[rows] if self._has_batch(name) else array for name, array in self.arrays.items()}
        new = np.broadcast_to((np.arange(count) >= self.batch)[:, None], (count, self.length))
        return self.with_inputs(**{**arrays, **self._replaced(arrays, new, np.random.default_rng(seed))})

    def _goes_along(self, name: str, array: Array) -> bool:
        """Whether an input has one entry for each position of the varied one: its masks and positions, no other content."""
        if name in self.varied:
            return True
        sides = {one.startswith(DECODER) for one in self.arrays}
        other_side = len(sides) == 2 and name.startswith(DECODER) != self.vary.startswith(DECODER)
        described = array.dtype.kind == "b" or any(word in name for word in DESCRIBING)
        described = described or bool(np.isin(array, (0, 1)).all())
        return array.shape[:2] == (self.batch, self.length) and described and not other_side

    def _is_of_pairs(self, name: str, array: Array) -> bool:
        """Whether an input has an entry for each pair of positions, as masks and biases have."""
        square = array.ndim >= 2 and array.shape[-2:] == (self.length, self.length)
        return square and name not in (*self.varied, *PADDING_NAMES)

    def _check_lengthened(self, known: Collection[str] = ()) -> None:
        odd = [
            f"{name} of shape {array.shape}"
            for name, array in self.arrays.items()
            if name not in known and array.shape[:2] != (self.batch, self.length) and self.length in array.shape
        ]
        odd += [f"{self.vary} with positions of {' x '.join(map(str, self.sizes))}"] if len(self.sizes) > 1 else []
        if odd:
            raise InputError(
                "inputs of other lengths are made where positions are the second axis",
                ", ".join(odd),
                "Check each length on its own",
            )

    def copies(self, sequence: int, count: int) -> dict[str, Array]:
        """All arrays, holding ``count`` copies of one sequence."""
        return {
            name: np.repeat(array[sequence : sequence + 1], count, axis=0) if self._has_batch(name) else array
            for name, array in self.arrays.items()
        }

    def resampled(self, sequence: int, positions: NDArray[np.bool_], seed: int) -> dict[str, Array]:
        """Copies of a sequence, each with fresh random content at its own positions (count, length)."""
        arrays = self.copies(sequence, len(positions))
        return {**arrays, **self._replaced(arrays, positions, np.random.default_rng(seed))}

    def parts(self, arrays: dict[str, Array], size: int) -> list[tuple[dict[str, Array], int]]:
        """Arrays in batches of exactly this size, the last filled up with what it has; and how many of each count."""
        count = len(arrays[self.vary])
        chosen = [np.arange(first, min(first + size, count)) for first in range(0, count, size)]
        return [
            (
                {
                    name: array[np.resize(rows, size)] if self._has_batch(name) else array
                    for name, array in arrays.items()
                },
                len(rows),
            )
            for rows in chosen
        ]

    def _replaced(
        self, arrays: dict[str, Array], positions: NDArray[np.bool_], draw: np.random.Generator
    ) -> dict[str, Array]:
        return {name: self._redrawn(arrays[name], positions, draw) for name in self.varied}

    def _redrawn(self, array: Array, positions: NDArray[np.bool_], draw: np.random.Generator) -> Array:
        where = positions.reshape(positions.shape + (1,) * (array.ndim - 2))
        if array.dtype.kind in "iu":
            words = self.vocabulary
            drawn = draw.integers(0, len(words), array.shape)
            drawn = np.where(words[drawn] == array, (drawn + 1) % len(words), drawn)  # never the old id
            return np.where(where, words[drawn], array).astype(array.dtype)
        scale = self.loudness * max(1.0, float(np.abs(array).max()))
        noise = draw.normal(0.0, scale, array.shape)
        return np.where(where, noise, array).astype(array.dtype)

    def _has_batch(self, name: str) -> bool:
        """Whether an input has a row for each sequence; a square of positions is a mask of pairs, in a batch of any size."""
        array = self.arrays[name]
        pairs = array.ndim == 2 and self._is_of_pairs(name, array)
        return bool(array.ndim and array.shape[0] == self.batch and not pairs)

    def native(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """All inputs in the library and layout that they were given in."""
        originals = {**self.inputs, **{name: self.inputs.get(name, self.inputs[self.vary]) for name in arrays}}
        return {
            name: like(self._outside(name, arrays[name]), value) if name in arrays else _own(value)
            for name, value in originals.items()
        }

    def _outside(self, name: str, array: Array) -> Array:
        added = name not in self.inputs and len(self.sizes) > 1  # a mask of what has rows and columns has them, too
        if name not in self.laid_out and not added:
            return array
        sizes = self.sizes if len(self.sizes) > 1 else (array.shape[1],)
        return np.asarray(self.layout.outside(array, sizes))


def _alike(array: Array, main: Array, layout: Layout) -> bool:
    """Whether an input has the axes of the varied one: of ids and masks only one of its shape, for they may have others."""
    if array.shape == main.shape:
        return True
    same = array.ndim == main.ndim and array.ndim > 2 and array.shape[layout.batch] == main.shape[layout.batch]
    return same and (len(layout.length) == 1 or layout.sizes(array) == layout.sizes(main))


def _own(value: Any) -> Any:
    """A copy of what a call may change, such as a cache; what cannot be copied is shared."""
    try:
        return copy.deepcopy(value)
    except Exception:  # a lock, say
        return value


def with_arrays(inputs: dict[str, Any], vary: str | Sequence[str] | None) -> dict[str, Any]:
    """Lists of numbers as arrays, where they are what is varied."""
    asked = [vary] if isinstance(vary, str) else list(vary or ())
    known = (*asked, *MAIN_INPUTS, *PADDING_NAMES, *(["inputs"] if len(inputs) == 1 else []))
    return {
        name: np.asarray(value) if name in known and isinstance(value, (list, tuple)) and len(value) else value
        for name, value in inputs.items()
    }


def _varied(inputs: dict[str, Any], vary: str | Sequence[str] | None) -> tuple[str, ...]:
    arrays = [name for name, value in inputs.items() if is_array(value)]
    asked = (vary,) if isinstance(vary, str) else tuple(vary or ())
    if not arrays or not set(asked) <= set(arrays):
        raise InputError(
            "the input to vary is an array among the inputs",
            f"{', '.join(asked) or 'no array'} among {list(inputs)}",
            f"Choose one of {arrays}",
        )
    return asked or (next((name for name in MAIN_INPUTS if name in arrays), arrays[0]),)
