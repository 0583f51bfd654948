"""The parts of a module at work: what each is given and gives, and where two runs first differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from attnmask.verify.torch.modules import Function

CLOSED = (Function, torch.jit.ScriptModule)


class Work(NamedTuple):
    """One call of a part: its name, the tensors it was given, and those that it gave."""

    name: str
    inside: list[torch.Tensor]
    outside: list[torch.Tensor]


def watched(model: torch.nn.Module, run: Callable[[], Any]) -> list[Work]:
    """Every call of a part during a run, in the order of completion; functions and compiled scripts have no parts."""
    names = {part: name for name, part in model.named_modules() if not isinstance(part, CLOSED)}
    calls: list[Work] = []

    def note(part: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        label = f"{names[part]} ({type(part).__name__})" if names[part] else type(part).__name__
        calls.append(Work(label, list(_tensors((args, kwargs))), list(_tensors(output))))

    handles = [part.register_forward_hook(note, with_kwargs=True) for part in names]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return calls


class Place(NamedTuple):
    """A place in the batch and a position, in two runs of some lengths; ``tolerance`` beside the largest number."""

    place: int
    query: int
    lengths: tuple[int, int]
    batches: tuple[int, int]
    tolerance: float = 0.0

    def changed(self, before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
        """Whether any tensor differs there; tensors without an axis of positions do not count."""
        return any(self._differs(one, other) for one, other in zip(before, after, strict=False))

    def _differs(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        first, second = (self.of(tensor, run) for run, tensor in enumerate((one, other)))
        if first is None or second is None or first.shape != second.shape:
            return False
        first, second = (part.nan_to_num() if part.is_floating_point() else part for part in (first, second))
        if not self.tolerance or not first.is_floating_point():
            return not torch.equal(first, second)
        return bool((first - second).abs().max() > self.tolerance * first.abs().max())

    def of(self, tensor: torch.Tensor, run: int = 0) -> torch.Tensor | None:
        """The numbers of a tensor at this place and position; None if it has no axis as long as the run."""
        length, batch = self.lengths[run], self.batches[run]
        axis = next((axis for axis in (1, 2, 3, 0) if tensor.dim() > axis and tensor.shape[axis] == length), None)
        if axis is None or tensor.numel() == 0:
            return None
        there = tensor.select(axis, self.query)
        if axis:
            return there[self.place] if len(there) > self.place and tensor.shape[0] > 1 else there
        return there[self.place] if there.dim() > 1 and len(there) == batch else there  # (length, batch, ...)


def rows_differ(before: list[torch.Tensor], after: list[torch.Tensor], place: int) -> bool:
    """Whether any tensor differs at a place of the batch."""
    return any(
        one.shape == other.shape and one.dim() > 1 and len(one) > place and not torch.equal(one[place], other[place])
        for one, other in zip(before, after, strict=False)
    )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
