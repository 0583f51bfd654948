"""A torch module as the subject of probes: fresh weights on a copy, float64, gradients, and a look inside."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attnmask.verify.subject import PADDING_INPUTS, Array, Subject


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
        if fresh_weights:
            _randomise(self.model, seed)
        if self.named and "use_cache" in self.parameters and "use_cache" not in self.inputs:
            self.inputs["use_cache"] = False
        self.embeddings = list(self._embeddings()) if self.holds_ids else []

    @property
    def parameters(self) -> frozenset[str]:
        """The names that the module's forward takes."""
        return frozenset(inspect.signature(self.model.forward).parameters)

    @property
    def vocabulary(self) -> int:
        sizes = [part.num_embeddings for part in self.embeddings]
        return min(sizes) if sizes else super().vocabulary

    def call(self, inputs: dict[str, Any]) -> Any:
        with torch.no_grad():
            return super().call(inputs)

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
        """The same subject in float64."""
        other = self.with_inputs()
        assert isinstance(other, TorchSubject)
        other.model = copy.deepcopy(self.model).double()
        other.inputs = {
            name: value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
            for name, value in self.inputs.items()
        }
        return other

    def gradients(self, row: int, seed: int) -> NDArray[np.float64] | None:
        """How strongly each output row depends on each position: (rows, kv_len), by random cotangents.

        None where no embedding layer or float input gives the derivatives a place to start from.
        """
        native = self.native(self.copies(row, 1))
        leaves: list[torch.Tensor] = []
        if self.holds_ids:
            ids = native[self.vary]

            def detach(part: torch.nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor | None:
                if part not in self.embeddings or not _equal(args[0], ids):
                    return None
                leaves.append(output.detach().requires_grad_())
                return leaves[-1].clone()  # models may scale it in place, which a leaf does not allow

            with _hooks(self.model, detach):
                result = self.output(Subject.call(self, native))
        else:
            leaves.append(native[self.vary].detach().requires_grad_())
            result = self.output(Subject.call(self, {**native, self.vary: leaves[0]}))
        return _jacobian(result[0], leaves, seed) if leaves and result.requires_grad else None

    def first_change(self, row: int, replaced: NDArray[np.bool_], query: int, seed: int) -> str | None:
        """The first module whose output at a position changes although its inputs there do not."""
        before = self._trace(self.copies(row, 1))
        after = self._trace(self.resampled(row, replaced[None], seed))
        for (name, inside, outside), (_, inside_after, outside_after) in zip(before, after, strict=False):
            if _changed(outside, outside_after, query, self.length) and not _changed(
                inside, inside_after, query, self.length
            ):
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


def _jacobian(result: torch.Tensor, leaves: list[torch.Tensor], seed: int) -> NDArray[np.float64]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for output in result:  # (features,)
        cotangent = torch.randn(output.shape, generator=generator).to(output)  # never ones: blind behind a norm
        parts = torch.autograd.grad((output * cotangent).sum(), leaves, retain_graph=True, allow_unused=True)
        sizes = [part[0].abs().flatten(1).amax(1) for part in parts if part is not None]  # (kv_len,)
        rows.append(torch.stack(sizes).amax(0) if sizes else torch.zeros(leaves[0].shape[1]))
    array: NDArray[np.float64] = torch.stack(rows).double().cpu().numpy()
    return array


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


def _changed(before: list[torch.Tensor], after: list[torch.Tensor], query: int, length: int) -> bool:
    """Whether any tensor differs at a position; tensors without an axis of positions do not count."""
    for one, other in zip(before, after, strict=False):
        axis = next((axis for axis in (1, 0, 2) if one.dim() > axis and one.shape[axis] == length), None)
        if one.shape == other.shape and axis is not None:
            pair = [tensor.select(axis, query) for tensor in (one, other)]
            if not torch.equal(
                *(torch.nan_to_num(tensor) if tensor.is_floating_point() else tensor for tensor in pair)
            ):
                return True
    return False
