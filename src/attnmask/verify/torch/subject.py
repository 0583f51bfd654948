"""A torch module as the subject of probes: fresh weights on a copy, float64, gradients, and a look inside."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from attnmask.verify.arrays import Array, unit_of
from attnmask.verify.subject import PADDING_INPUTS, Subject, repeatable
from attnmask.verify.torch import cache

AT_ONCE = 16  # derivatives
LITTLE = 5e9  # products of a weight and a position in one run, a tenth of a second for one core


class TorchSubject(Subject):
    """A copy of a module in eval mode; the module itself is never changed.

    Args:
        fresh_weights: give the copy random weights of unit gain, so that gates initialised to zero and tiny initial
            weights hide no path; False keeps the weights of a trained model.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        inputs: Any,
        vary: str | None = None,
        output: Callable[[Any], Any] | None = None,
        *,
        fresh_weights: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__(copy.deepcopy(model).eval(), _named(model, inputs), vary, output)
        self.model: torch.nn.Module
        self.doubled: list[TorchSubject] = []  # one copy in float64, shared by all subjects of this model
        if fresh_weights:
            _randomise(self.model, seed)
        self.embeddings = list(self._embeddings()) if self.holds_ids else []

    @property
    def parameters(self) -> frozenset[str]:
        """The names that the module's forward takes."""
        return frozenset(inspect.signature(self.model.forward).parameters)

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
        threads, weights = torch.get_num_threads(), sum(weight.numel() for weight in self.model.parameters())
        if weights * shape[0] * shape[1] < LITTLE:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def _embeddings(self) -> Iterator[torch.nn.Embedding]:
        """The embedding layers that are given the varied ids."""
        found: list[torch.nn.Embedding] = []
        ids = torch.from_numpy(np.ascontiguousarray(self.arrays[self.vary]))

        def note(part: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if _equal(args[0], ids) and output.shape[:-1] == ids.shape and part not in found:
                found.append(part)

        with _hooks(self.model, note):
            self.run(self.arrays)
        return iter(found)

    def in_double(self) -> TorchSubject:
        """The same subject in float64; one copy of the model serves all inputs."""
        if not self.doubled:
            self.doubled.append(self._in(torch.float64))
        known, other = self.doubled[0], self.with_inputs()
        assert isinstance(other, TorchSubject)
        other.model, other.embeddings, other.doubled = known.model, known.embeddings, known.doubled
        other.inputs = _to(self.inputs, torch.float64)
        return other

    def with_weights(self, times: float) -> TorchSubject:
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
        other = self._with_copy({})
        if dtype is not None:
            other.model = other.model.to(dtype)
            other.inputs = _to(self.inputs, dtype)
        return other

    def _with_copy(self, memo: dict[int, Any]) -> TorchSubject:
        """The same subject with a copy of the model; ``memo`` names by their ids the parts that are shared."""
        other = self.with_inputs()
        assert isinstance(other, TorchSubject)
        other.model = copy.deepcopy(self.model, memo)
        other.embeddings = [memo[id(part)] for part in self.embeddings]
        other.doubled = []
        return other

    def first_cache_difference(self, chunks: list[int]) -> tuple[int, float] | None:
        ids = torch.from_numpy(np.ascontiguousarray(self.arrays[self.vary][:1]))
        found = cache.first_difference(self.model, ids, chunks, self.output)
        return None if found is None else (found.position, found.size)

    def in_training(self) -> TorchSubject:
        """A copy in training mode, which runs one sequence at a time."""
        other = self._with_copy({id(weight): weight for weight in self.model.parameters()})  # which no forward changes
        other.model.train()
        other.at_once = 1
        return other

    def gradients(self, sequence: int, groups: NDArray[np.bool_], seed: int) -> NDArray[np.float64] | None:
        with self._threads((AT_ONCE, self.length)):
            return self._gradients(sequence, groups, seed)

    def _gradients(self, sequence: int, groups: NDArray[np.bool_], seed: int) -> NDArray[np.float64] | None:
        native = self.native(self.copies(sequence, 1))
        leaves: list[torch.Tensor] = []

        def leaf(output: torch.Tensor) -> torch.Tensor:
            leaves.append(output.detach().requires_grad_())
            return leaves[-1].clone()  # models may scale it in place, which a leaf does not allow

        if self.holds_ids:
            with self._embedded(native[self.vary], leaf), repeatable(self.seed):
                result = self.output(Subject.call(self, native))
        else:
            leaves.append(native[self.vary].detach().requires_grad_())
            with repeatable(self.seed):
                result = self.output(Subject.call(self, {**native, self.vary: leaves[0]}))
        return _jacobian(result[0], leaves, groups, seed) if leaves and result.requires_grad else None

    def moved(self, sequence: int, positions: NDArray[np.bool_], size: float, seed: int) -> Array | None:
        if not self.holds_ids:
            return super().moved(sequence, positions, size, seed)
        if not self.embeddings:
            return None
        arrays = self.copies(sequence, 1)
        where = torch.from_numpy(positions)[None, :, None]

        def add(output: torch.Tensor) -> torch.Tensor:
            drawn = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).to(output)
            return torch.where(where.to(output.device), output + size * output.std() * drawn, output)

        with self._embedded(self.native(arrays)[self.vary], add):
            after = self.run(arrays)
        return np.asarray((after - self.run(arrays))[0])

    @contextmanager
    def _embedded(self, ids: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Let the embeddings of the varied ids pass through a function."""

        def hook(part: torch.nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
            return change(output) if part in self.embeddings and _equal(args[0], ids) else None

        with _hooks(self.model, hook):
            yield

    def first_nan(self, sequence: int) -> str | None:
        for name, _, outside in self._trace(self.copies(sequence, 1)):
            if any(tensor.is_floating_point() and bool(tensor.isnan().any()) for tensor in outside):
                return name
        return None

    def first_mixing(self, before: dict[str, Array], after: dict[str, Array], place: int) -> str | None:
        for (name, inside, outside), (_, inside_after, outside_after) in zip(
            self._trace(before), self._trace(after), strict=False
        ):
            if _rows_differ(outside, outside_after, place) and not _rows_differ(inside, inside_after, place):
                return name
        return None

    def first_change(
        self, before: dict[str, Array], after: dict[str, Array], place: int, query: int, tolerance: float = 0.0
    ) -> str | None:
        lengths = [arrays[self.vary].shape[1] for arrays in (before, after)]
        for (name, inside, outside), (_, inside_after, outside_after) in zip(
            self._trace(before), self._trace(after), strict=False
        ):
            place_of = _Place(place, query, (lengths[0], lengths[1]), tolerance)
            if place_of.changed(outside, outside_after) and not place_of.changed(inside, inside_after):
                return name
        return None

    def _trace(self, arrays: dict[str, Array]) -> list[tuple[str, list[torch.Tensor], list[torch.Tensor]]]:
        """Every module call in the order of completion: name, tensors in, tensors out."""
        names = {part: name for name, part in self.model.named_modules()}
        calls: list[tuple[str, list[torch.Tensor], list[torch.Tensor]]] = []

        def note(part: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            label = f"{names[part]} ({type(part).__name__})" if names[part] else type(part).__name__
            calls.append((label, list(_tensors((args, kwargs))), list(_tensors(output))))

        handles = [part.register_forward_hook(note, with_kwargs=True) for part in self.model.modules()]
        try:
            self.run(arrays)
        finally:
            for handle in handles:
                handle.remove()
        return calls


def _named(model: torch.nn.Module, inputs: Any) -> Any:
    """A single array under the name of the module's first argument, if that is a name with known companions."""
    first = next(iter(inspect.signature(model.forward).parameters), "")
    return {first: inputs} if first in PADDING_INPUTS and not isinstance(inputs, Mapping) else inputs


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


def _jacobian(
    result: torch.Tensor, leaves: list[torch.Tensor], groups: NDArray[np.bool_], seed: int
) -> NDArray[np.float64]:
    """The largest derivative at each position (groups, keys), along one random direction per group of outputs."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.from_numpy(groups).to(result.device)  # (groups, queries)
    directions = torch.randn(result.shape, generator=generator).to(result)  # never ones: blind behind a norm
    cotangents = torch.where(chosen.reshape(*chosen.shape, *[1] * (result.dim() - 1)), directions, 0)
    found = [_slopes(result, leaves, part) for part in cotangents.split(AT_ONCE)]
    array: NDArray[np.float64] = torch.cat(found).double().cpu().numpy()
    return array


def _slopes(result: torch.Tensor, leaves: list[torch.Tensor], cotangents: torch.Tensor) -> torch.Tensor:
    """(cotangents, keys)."""
    options = {"retain_graph": True, "allow_unused": True}
    try:
        parts = torch.autograd.grad(result, leaves, cotangents, is_grads_batched=True, **options)
    except RuntimeError:  # what cannot be batched is done one by one
        rows = [torch.autograd.grad(result, leaves, cotangent, **options) for cotangent in cotangents]
        parts = tuple(
            None if column[0] is None else torch.stack([part for part in column if part is not None])
            for column in zip(*rows, strict=True)
        )
    sizes = [part[:, 0].abs().flatten(2).amax(2) for part in parts if part is not None]
    return torch.stack(sizes).amax(0) if sizes else torch.zeros(len(cotangents), leaves[0].shape[1])


def _randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights of unit gain; constant vectors (norms, zero gates and biases) are only stirred."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not weight.is_floating_point() or weight.numel() == 0:
                continue
            drawn = torch.randn(weight.shape, generator=generator).to(weight)
            if weight.dim() >= 2:
                fan = 1 if "embed" in name or "wte" in name else weight[0].numel()
                weight.copy_(drawn / math.sqrt(fan) if weight.std() > 0 or weight.dim() == 2 else drawn * 0.2)
            elif bool((weight == weight.flatten()[0]).all()):
                weight.add_(drawn * 0.2)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


class _Place(NamedTuple):
    """A place in the batch and a position, in two runs of some lengths."""

    place: int
    query: int
    lengths: tuple[int, int]
    tolerance: float

    def changed(self, before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
        """Whether any tensor differs there; tensors without an axis of positions do not count."""
        return any(self._differs(one, other) for one, other in zip(before, after, strict=False))

    def _differs(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        first, second = self._there(one, self.lengths[0]), self._there(other, self.lengths[1])
        if first is None or second is None or first.shape != second.shape:
            return False
        first, second = (part.nan_to_num() if part.is_floating_point() else part for part in (first, second))
        if not self.tolerance or not first.is_floating_point():
            return not torch.equal(first, second)
        return bool((first - second).abs().max() > self.tolerance * first.abs().max())

    def _there(self, tensor: torch.Tensor, length: int) -> torch.Tensor | None:
        axis = next((axis for axis in (1, 2, 3, 0) if tensor.dim() > axis and tensor.shape[axis] == length), None)
        if axis is None or tensor.numel() == 0:
            return None
        there = tensor.select(axis, self.query)
        return there[self.place] if axis and len(there) > self.place and tensor.shape[0] > 1 else there


def _rows_differ(before: list[torch.Tensor], after: list[torch.Tensor], place: int) -> bool:
    """Whether any tensor differs at a place of the batch."""
    return any(
        one.shape == other.shape and one.dim() > 1 and len(one) > place and not torch.equal(one[place], other[place])
        for one, other in zip(before, after, strict=False)
    )
