"""A model together with its inputs, ready to be run on many variants of one sequence at once.

``Subject`` takes any callable over arrays. ``attnmask.verify.torch.subject`` adds what only a torch module allows: fresh
weights, float64, gradients and a look inside; ``attnmask.verify.jax.subject`` adds gradients.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import InputError
from attnmask.verify.subjects.arrays import Array, main_output, to_numpy, unit_of
from attnmask.verify.subjects.inputs import Inputs
from attnmask.verify.subjects.layout import Layout

COPIES = 64  # variants of a sequence per run


class Subject(Inputs):
    """Runs a callable on copies of one sequence in which some positions are replaced.

    Args:
        model: called with the one array, or with the dict as keyword arguments.
        inputs: as of ``Inputs``.
        vary: as of ``Inputs``.
        output: takes the model's result to an array (batch, rows, ...).
        layout: as of ``Inputs``.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        inputs: Any,
        vary: str | Sequence[str] | None = None,
        output: Callable[[Any], Any] | None = None,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(inputs, vary, layout)
        self.model = model
        self.output = output or main_output
        self.at_once = COPIES
        self.exactly: int | None = None  # the number of sequences in a call, where no other one is taken
        self.seed = 0  # of what the model draws itself
        self._unit = unit_of(self.arrays[self.vary])

    @cached_property
    def queries(self) -> int:
        """The number of output positions."""
        return len(self.alone(0))

    @property
    def unit(self) -> float:
        """The relative rounding of the number format that it computes in."""
        return self._unit

    def alone(self, sequence: int) -> Array:
        """The output of one sequence as it is given, (rows, features), which is computed once."""
        if sequence not in self._alone:
            self._alone[sequence] = self.run(self.copies(sequence, 1))[0]
        return self._alone[sequence]

    @cached_property
    def mixes(self) -> dict[tuple[int, int], Array]:
        """How far a sequence at a place moves when the other one of two is replaced with a seed, once it was tried."""
        return {}

    @cached_property
    def _alone(self) -> dict[int, Array]:
        return {}

    def run(self, arrays: dict[str, Array]) -> Array:
        """The output (batch, rows, features), floats of 32 or 64 bits."""
        if self.exactly not in (None, len(arrays[self.vary])):
            return np.concatenate([self.run(part)[:count] for part, count in self.parts(arrays, self.exactly or 1)])
        with repeatable(self.seed):
            given = self.output(self.call(self.native(arrays)))
        self._unit = unit_of(given)
        batch, length = arrays[self.vary].shape[:2]
        result = self.in_rows(to_numpy(given, wide=False), batch, length)
        if result.ndim < 2 or result.shape[0] != batch or (result.ndim == 2 and result.shape[1] != length):
            raise _without_rows(result.shape, batch, length)
        return np.asarray(result.reshape(batch, result.shape[1], -1))

    def in_rows(self, result: Any, batch: int, length: int) -> Any:
        """A result as (batch, rows, ...): it has the axes of the input, or if its positions are others the usual ones."""
        if not self.layout.fits(result) or result.shape[self.layout.batch] != batch:
            return result
        sizes = self.sizes if len(self.sizes) > 1 else (length,)
        same = self.layout.sizes(result) == sizes or self.layout.batch != 0
        return self.layout.inside(result) if same else result

    def call(self, inputs: dict[str, Any]) -> Any:
        """The model's result."""
        return self.model(**inputs) if self.named else self.model(inputs["inputs"])

    @cached_property
    def draws(self) -> bool:
        """Whether the model draws random numbers: runs of other shapes can then not be compared."""
        other = self.with_inputs()
        other.seed = self.seed + 1
        return not np.array_equal(self.alone(0), other.alone(0), equal_nan=True)

    def moved(self, sequence: int, positions: NDArray[np.bool_], size: float, seed: int) -> Array | None:
        """How the output of a sequence moves when content of this size is added at positions: (queries, features)."""
        if self.holds_ids:
            return None
        arrays = self.copies(sequence, 1)
        array = arrays[self.vary]
        noise = np.random.default_rng(seed).normal(0.0, size, array.shape)
        where = positions.reshape(1, -1, *[1] * (array.ndim - 2))
        added = {**arrays, self.vary: array + np.where(where, noise, 0.0)}
        return np.asarray(self.run(added)[0] - self.run(arrays)[0])

    def exact(self) -> Subject:
        """The same subject in float64, if it runs in it."""
        return self._exact

    @cached_property
    def _exact(self) -> Subject:
        try:
            double = self.in_double()
            if double is not None:
                double.alone(0)
        except RuntimeError:  # a kernel without float64
            return self
        return double or self

    @property
    def remarks(self) -> list[str]:
        """What is to be known of a model of this sort."""
        return []

    @property
    def weights_count(self) -> int:
        """How many weights a model has, as far as is known: its work for one position."""
        return 0

    @property
    def sizes_inside(self) -> dict[str, int]:
        """The sizes of blocks, chunks and windows that a model counts in, by name."""
        return {}

    # What a subject of some library can do beside:

    def in_double(self) -> Subject | None:
        """The same subject in float64; None where that is not known to be possible."""
        return None

    def in_training(self) -> Subject | None:
        """The same subject in training mode; None where there is none."""
        return None

    def in_format(self, name: str) -> Subject | None:
        """The same subject with weights in another number format; None where it has no weights, or this format."""
        return None

    def with_weights(self, times: float) -> Subject | None:
        """The same subject with all matrices of weights larger; None where it has none."""
        return None

    def with_attention(self, kind: str) -> Subject | None:
        """The same subject with another implementation of attention; None where there is no choice, or this is it."""
        return None

    def checkpointed(self) -> Subject | None:
        """The same subject with gradient checkpointing, in training mode; None where it has none."""
        return None

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

    def first_slope(self, sequence: int, query: int, key: int) -> str | None:
        """The first part of the model whose output at a position has a derivative by a key, although its inputs have none."""
        return None

    def first_mixing(self, before: dict[str, Array], after: dict[str, Array], place: int) -> str | None:
        """The first part of the model whose output changes at a place of the batch although its inputs there do not."""
        return None

    def first_departing(self, part: Subject, row: int, *, shift: int = 0, place: int = 0) -> str | None:
        """The first part of the model that gives others for a row of one sequence where only a part of all inputs is left.

        Args:
            part: the inputs that are left of the sequence.
            row: the output, counted in the whole sequence.
            shift: the position from which on the sequence is left.
            place: the place of the sequence in the batch.
        """
        return None

    def keep_statistics(self) -> None:
        """In training, let norms that count over the batch by definition use the statistics that they keep."""

    def first_nan(self, sequence: int) -> str | None:
        """The first part of the model that gives NaN."""
        return None


def _without_rows(shape: tuple[int, ...], batch: int, length: int) -> InputError:
    advice = (
        "Choose it with output=lambda result: result.last_hidden_state, or for one output per sequence write "
        "output=lambda result: result[:, None]"
        if len(shape) == 2
        else "Choose it with output=lambda result: ..., or say batch_axis= and length_axis="
    )
    return InputError(
        "the output has one row per position: (batch, rows, ...)",
        f"shape {shape} for {batch} sequences of {length}",
        advice,
    )


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
