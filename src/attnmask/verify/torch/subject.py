"""A torch module as the subject of probes: fresh weights on a copy, float64, gradients, and a look inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attnmask.verify.subjects.arrays import Array, unit_of
from attnmask.verify.subjects.layout import Layout
from attnmask.verify.subjects.subject import Subject, repeatable
from attnmask.verify.torch.departing import first_departing
from attnmask.verify.torch.gradients import AT_ONCE, Change, Leaf, jacobian, steepness
from attnmask.verify.torch.modules import (
    Function,
    argument_names,
    as_module,
    copied,
    evaluated,
    in_torch,
    randomise,
    sizes_of,
)
from attnmask.verify.torch.parts import Place, Work, rows_differ, watched

LITTLE = 5e9  # products of a weight and a position in one run, a tenth of a second for one core


class TorchSubject(Subject):
    """A copy of a module in eval mode; the module itself is never changed.

    Args:
        fresh_weights: give the copy random weights of unit gain, so that gates initialised to zero and tiny initial
            weights hide no path; False keeps the weights of a trained model.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        inputs: Any,
        vary: str | Sequence[str] | None = None,
        output: Callable[[Any], Any] | None = None,
        layout: Layout | None = None,
        *,
        fresh_weights: bool = True,
        seed: int = 0,
    ) -> None:
        self.model: torch.nn.Module = evaluated(copied(as_module(model)))
        super().__init__(self.model, in_torch(self.model, inputs), vary, output, layout)
        self.doubled: list[TorchSubject] = []  # one copy in float64, shared by all subjects of this model
        if fresh_weights:
            randomise(self.model, seed)
        self.embeddings = self._embeddings() if self.holds_ids else []

    @property
    def _channels_first(self) -> bool:
        return super()._channels_first or any(isinstance(part, torch.nn.Conv2d) for part in self.model.modules())

    @property
    def parameters(self) -> frozenset[str]:
        """The names that the module's forward takes."""
        return frozenset(argument_names(self.model))

    @property
    def ids(self) -> NDArray[np.int64]:
        """All ids that the embedding layers know."""
        sizes = [part.num_embeddings for part in self.embeddings]
        return np.arange(min(sizes)) if sizes else super().vocabulary

    @property
    def special(self) -> NDArray[np.int64]:
        """Ids that do not stand for content, by the embedding layers and the model's configuration."""
        config = getattr(self.model, "config", None)
        named = [getattr(config, name, None) for name in dir(config) if name.endswith("_token_id")] if config else []
        found = [part.padding_idx for part in self.embeddings] + [
            one for value in named for one in (value if isinstance(value, (list, tuple)) else [value])
        ]
        return np.unique([one for one in found if isinstance(one, int)]).astype(np.int64)

    @property
    def remarks(self) -> list[str]:
        traced = isinstance(self.model, torch.jit.TopLevelTracedModule)
        return [
            "a traced module keeps the branches of the inputs that it was traced with: check the model itself"
        ] * traced

    @cached_property
    def weights_count(self) -> int:
        return sum(weight.numel() for weight in self.model.parameters())

    @property
    def sizes_inside(self) -> dict[str, int]:
        return sizes_of(self.model)

    @property
    def vocabulary(self) -> NDArray[np.int64]:
        if self.words is not None:
            return self.words
        words = np.setdiff1d(self.ids, self.special)
        return words if len(words) > 1 else self.ids

    @property
    def unit(self) -> float:
        return max([super().unit, *(unit_of(part) for part in self.model.parameters() if part.is_floating_point())])

    def call(self, inputs: dict[str, Any]) -> Any:
        with torch.no_grad(), self._threads(inputs[self.vary].shape):
            return super().call(inputs)

    @contextmanager
    def _threads(self, shape: Sequence[int]) -> Iterator[None]:
        """Little work is done by one thread: several wait for each other, on a busy machine longer than they work."""
        threads = torch.get_num_threads()
        if self.weights_count * math.prod(shape[:2]) < LITTLE:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def _embeddings(self) -> list[torch.nn.Embedding]:
        """The embedding layers that are given the varied ids."""
        found: list[torch.nn.Embedding] = []
        native = self.native(self.arrays)

        def note(part: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if self._ids_layout(args[0], native) and output.shape[:-1] == args[0].shape and part not in found:
                found.append(part)

        with _hooks(self.model, note), repeatable(self.seed):
            self.call(native)
        return found

    def in_double(self) -> TorchSubject:
        """The same subject in float64; one copy of the model serves all inputs."""
        if not self.doubled:
            self.doubled.append(self._in(torch.float64))
        known, other = self.doubled[0], self.with_inputs()
        assert isinstance(other, TorchSubject)
        other.model, other.embeddings, other.doubled = known.model, known.embeddings, known.doubled
        other.inputs = _to(self.inputs, torch.float64)
        return other

    def with_weights(self, times: float) -> TorchSubject | None:
        if not any(True for _ in self.model.parameters()):
            return None
        other = self._in(None)
        with torch.no_grad():
            for name, weight in other.model.named_parameters():
                if weight.dim() >= 2 and "embed" not in name:
                    weight.mul_(times)
        return other

    def in_format(self, name: str) -> TorchSubject | None:
        dtype = getattr(torch, name)
        own = {part.dtype for part in self.model.parameters() if part.is_floating_point()}
        return self._in(dtype) if own and own != {dtype} else None

    def _in(self, dtype: torch.dtype | None) -> TorchSubject:
        """The same subject with a copy of the model, in another number format if one is given."""
        other = self._with_copy()
        if dtype is not None:
            other.model = other.model.to(dtype)
            other.inputs = _to(self.inputs, dtype)
        return other

    def in_training(self) -> TorchSubject | None:
        """A copy in training mode, which runs one sequence at a time; a function has none."""
        if isinstance(self.model, Function):
            return None
        other = self._with_copy({id(weight): weight for weight in self.model.parameters()})  # which no forward changes
        other.model.train()
        other.at_once = 1
        return other

    def with_attention(self, kind: str) -> TorchSubject | None:
        own = getattr(getattr(self.model, "config", None), "_attn_implementation", None)
        if own in (None, kind) or not hasattr(self.model, "set_attn_implementation"):
            return None
        other = self._with_copy()
        try:
            other.model.set_attn_implementation(kind)
        except ValueError:  # a model without it
            return None
        return other

    def checkpointed(self) -> TorchSubject | None:
        if not getattr(self.model, "supports_gradient_checkpointing", False):
            return None
        other = self.in_training()
        if other is not None:
            new, old = (
                "activation_checkpointing_enable",
                "gradient_checkpointing_enable",
            )  # of transformers 5, and before
            getattr(other.model, new if hasattr(other.model, new) else old)()
        return other

    def _with_copy(self, shared: dict[int, Any] | None = None) -> TorchSubject:
        """The same subject with a copy of the model; ``shared`` names by their ids the parts that are not copied."""
        other = self.with_inputs()
        other.model = copied(self.model, shared)
        names = [name for name, part in self.model.named_modules() if part in self.embeddings]
        other.embeddings = [other.model.get_submodule(name) for name in names]
        other.doubled = []
        return other

    def gradients(self, sequence: int, groups: NDArray[np.bool_], seed: int) -> NDArray[np.float64] | None:
        with self._threads((AT_ONCE, self.length)):
            result, leaves = self._derivable(sequence)
            if not leaves or not result.requires_grad:
                return None
            return jacobian(self._rows_of(result), leaves, groups, seed)

    def first_slope(self, sequence: int, query: int, key: int) -> str | None:
        found: list[tuple[torch.Tensor, list[Leaf]]] = []
        parts = watched(self.model, lambda: found.append(self._derivable(sequence)))
        there = Place(0, query, (self.length, self.length), (1, 1))

        def depends(tensors: list[torch.Tensor]) -> bool:
            return any(_steep(there.of(tensor), found[0][1], key) for tensor in tensors)

        return next((part.name for part in parts if depends(part.outside) and not depends(part.inside)), None)

    def _derivable(self, sequence: int) -> tuple[torch.Tensor, list[Leaf]]:
        """The result for one sequence, and what it can be derived by: varied floats, and the embeddings of varied ids."""
        native = self.native(self.copies(sequence, self.exactly or 1))
        leaves: list[Leaf] = []

        def leaf(output: torch.Tensor, layout: Layout) -> torch.Tensor:
            leaves.append(Leaf(output.detach().requires_grad_(), layout))
            return leaves[-1].tensor.clone()  # models may scale it in place, which a leaf does not allow

        floats = {name: native[name] for name in self.varied if native[name].is_floating_point()}
        given = native | {name: leaf(value, self._layout_of(name)) for name, value in floats.items()}
        with self._embedded(native, leaf), repeatable(self.seed):
            return self.output(Subject.call(self, given)), leaves

    def _rows_of(self, result: torch.Tensor) -> torch.Tensor:
        """The outputs of the first sequence (queries, ...)."""
        return self.in_rows(result, self.exactly or 1, self.length)[0]

    def _layout_of(self, name: str) -> Layout:
        return self.layout if name in self.laid_out else Layout()

    def moved(self, sequence: int, positions: NDArray[np.bool_], size: float, seed: int) -> Array | None:
        if not self.holds_ids:
            return super().moved(sequence, positions, size, seed)
        if not self.embeddings:
            return None
        arrays = self.copies(sequence, 1)

        def add(output: torch.Tensor, layout: Layout) -> torch.Tensor:
            drawn = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).to(output)
            where = torch.from_numpy(layout.outside(positions[None, :, None], self.sizes)).to(output.device)
            return torch.where(where, output + size * output.std() * drawn, output)

        with self._embedded(self.native(arrays), add):
            after = self.run(arrays)
        return np.asarray((after - self.run(arrays))[0])

    @contextmanager
    def _embedded(self, native: dict[str, Any], change: Change) -> Iterator[None]:
        """Let the embeddings of the varied ids pass through a function."""

        def hook(part: torch.nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
            layout = self._ids_layout(args[0], native) if part in self.embeddings else None
            return None if layout is None else change(output, layout)

        with _hooks(self.model, hook):
            yield

    def _ids_layout(self, given: Any, native: dict[str, Any]) -> Layout | None:
        """The axes of what an embedding layer is given, if that is varied ids, perhaps with the two axes exchanged."""
        for name in self.varied:
            layout, ids = self._layout_of(name), native[name]
            if _equal(given, ids):
                return layout
            if ids.dim() == 2 and _equal(given, ids.T):
                return Layout(layout.length[0], (layout.batch,))
        return None

    def first_departing(self, part: Subject, row: int, *, shift: int = 0, place: int = 0) -> str | None:
        whole = Place(place, row, (self.length,) * 2, (self.batch,) * 2)
        left = Place(0, row - shift, (part.length,) * 2, (1, 1))
        runs = partial(self.run, self.arrays), partial(part.run, part.arrays)
        return first_departing(self.model, *runs, (whole, left))

    def keep_statistics(self) -> None:
        for part in self.model.modules():
            if "BatchNorm" in type(part).__name__:
                part.eval()

    def first_nan(self, sequence: int) -> str | None:
        for part in self._watched(self.copies(sequence, 1)):
            if any(tensor.is_floating_point() and bool(tensor.isnan().any()) for tensor in part.outside):
                return part.name
        return None

    def first_mixing(self, before: dict[str, Array], after: dict[str, Array], place: int) -> str | None:
        for one, other in zip(self._watched(before), self._watched(after), strict=False):
            if rows_differ(one.outside, other.outside, place) and not rows_differ(one.inside, other.inside, place):
                return one.name
        return None

    def first_change(
        self, before: dict[str, Array], after: dict[str, Array], place: int, query: int, tolerance: float = 0.0
    ) -> str | None:
        batches, lengths = zip(*(arrays[self.vary].shape[:2] for arrays in (before, after)), strict=True)
        there = Place(place, query, lengths, batches, tolerance)
        for one, other in zip(self._watched(before), self._watched(after), strict=False):
            if there.changed(one.outside, other.outside) and not there.changed(one.inside, other.inside):
                return one.name
        return None

    def _watched(self, arrays: dict[str, Array]) -> list[Work]:
        return watched(self.model, lambda: self.run(arrays))


def _to(inputs: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Inputs whose floating-point tensors have a number format."""
    return {
        name: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }


@contextmanager
def _hooks(model: torch.nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    """A forward hook on every embedding layer."""
    parts = [part for part in model.modules() if isinstance(part, torch.nn.Embedding)]
    handles = [part.register_forward_hook(hook) for part in parts]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _equal(given: Any, ids: torch.Tensor) -> bool:
    return isinstance(given, torch.Tensor) and given.shape == ids.shape and bool((given.cpu() == ids.cpu()).all())


def _steep(result: torch.Tensor | None, leaves: Sequence[Leaf], key: int) -> bool:
    """Whether some numbers have a derivative by a position."""
    return result is not None and result.requires_grad and bool(steepness(result, leaves, 0)[key] > 0)
