"""A function of JAX arrays, or a module of Flax or Keras, as the subject of probes: with gradients, and float64."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from attnmask.verify.jax.embedded import with_zeros
from attnmask.verify.subjects.arrays import Array
from attnmask.verify.subjects.layout import Layout
from attnmask.verify.subjects.subject import Subject, repeatable


class JaxSubject(Subject):
    """Runs a copy of what can be copied, in its mode for evaluation if it has one."""

    def __init__(
        self,
        model: Callable[..., Any],
        inputs: Any,
        vary: str | Sequence[str] | None = None,
        output: Callable[[Any], Any] | None = None,
        layout: Layout | None = None,
    ) -> None:
        super().__init__(_in_mode(model, training=False) or model, inputs, vary, output, layout)
        self.doubled = self.trained = False

    def call(self, inputs: dict[str, Any]) -> Any:
        with self._precision():
            if not self.trained:
                return super().call(inputs)
            return self._fresh().call(inputs)

    def _precision(self) -> AbstractContextManager[Any]:
        return jax.enable_x64(True) if self.doubled else nullcontext()

    def _fresh(self) -> Subject:
        """The same with a copy of the model: in training, a call moves statistics and draws on random numbers."""
        other = self.with_inputs()
        other.model, other.trained = copy.deepcopy(self.model), False
        return other

    def native(self, arrays: dict[str, Array]) -> dict[str, Any]:
        given = super().native(arrays)
        floats = {name for name, array in arrays.items() if array.dtype.kind == "f"} if self.doubled else set()
        with self._precision():
            return given | {name: jnp.asarray(self._outside(name, arrays[name])) for name in floats}

    def in_double(self) -> Subject:
        other = self.with_inputs()
        other.doubled = True
        return other

    def in_training(self) -> Subject | None:
        """A copy in training mode, which runs one sequence at a time."""
        model = _in_mode(self.model, training=True)
        if model is None:
            return None
        other = self.with_inputs()
        other.model, other.at_once, other.trained = model, 1, True
        return other

    def gradients(self, sequence: int, groups: NDArray[np.bool_], seed: int) -> NDArray[np.float64] | None:
        with self._precision():
            return self._gradients(sequence, groups, seed)

    def _gradients(self, sequence: int, groups: NDArray[np.bool_], seed: int) -> NDArray[np.float64] | None:
        native = self.native(self.copies(sequence, self.exactly or 1))

        def rows(value: Any) -> Any:
            """The outputs (queries, ...) of the first sequence for this varied input."""
            with repeatable(self.seed):
                result = self.output(self.call({**native, self.vary: value}))
            return self.in_rows(result, self.exactly or 1, self.length)[0]

        if not self.holds_ids:
            slopes = _slopes(rows, native[self.vary], groups, seed)
            layout = self.layout if self.vary in self.laid_out else Layout()
            return _largest(np.stack([layout.inside(one)[0] for one in slopes]), 1)
        function, zeros = with_zeros(rows, native[self.vary], self.length)
        if not zeros:
            return None
        found = [
            _largest(part, 1 + zero.shape.index(self.length))
            for part, zero in zip(_slopes(function, zeros, groups, seed), zeros, strict=True)
        ]
        return np.asarray(np.max(found, axis=0))


def _slopes(function: Callable[[Any], Any], value: Any, groups: NDArray[np.bool_], seed: int) -> Any:
    """Derivatives of groups of outputs along one random direction each, as the value, with an axis of groups in front."""
    result, backward = jax.vjp(function, value)
    directions = np.random.default_rng(seed).normal(size=result.shape)
    chosen = groups.reshape(*groups.shape, *[1] * (result.ndim - 1))
    cotangents = jnp.asarray(np.where(chosen, directions, 0.0), result.dtype)
    (found,) = jax.vmap(backward)(cotangents)
    return (
        [np.asarray(part, np.float64) for part in found] if isinstance(found, list) else np.asarray(found, np.float64)
    )


def _largest(slopes: Array, axis: int) -> NDArray[np.float64]:
    """The largest slope at each position (groups, keys)."""
    return np.asarray(np.moveaxis(np.abs(slopes), axis, 1).reshape(len(slopes), slopes.shape[axis], -1).max(-1))


def _in_mode(model: Any, *, training: bool) -> Any:
    """A copy of a module of Flax or Keras in a mode; None for what has none, such as a function."""
    if inspect.isfunction(model) or isinstance(model, type):
        return None
    if hasattr(model, "train") and hasattr(model, "eval"):
        other = copy.deepcopy(model)
        (other.train if training else other.eval)()
        return other
    call = getattr(model, "call", None)  # of Keras: the mode is an argument
    if call is not None and "training" in inspect.signature(call).parameters:
        return lambda *args, **named: model(*args, training=training, **named)
    return None
