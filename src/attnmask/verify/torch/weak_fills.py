"""Fills that scores can overcome, followed from where they are made to the softmax that does not heed them.

A fill of -100 leaves no trace in which cells are visible: all are. It is seen where it is made (``masked_fill``,
``where``) or where it is added (a tensor of 0 and one negative number), and its cells are followed by the memory of the
tensors that hold it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from attnmask.exchange.common import WEAKEST
from attnmask.exchange.diagnosis.fills import weak_fill_of
from attnmask.exchange.diagnosis.finding import Finding
from attnmask.exchange.recognition.exact import is_table
from attnmask.exchange.recognition.recognize import fits
from attnmask.verify.calls import Call
from attnmask.verify.torch.kernels import GAP

MOST_HELD = 32  # tensors whose memory is kept
MOST_CELLS = 1 << 18  # of a mask that is put into words
SAMPLED = 16  # numbers of a row that tell whether a tensor may be a mask

VIEWS = ("view", "_unsafe_view", "reshape")
SHAPES = (*VIEWS, "expand", "slice", "squeeze", "unsqueeze", "permute", "transpose", "select")
SAME = ("add", "add_", "sub", "_to_copy", "clone", "contiguous", "baddbmm")
FILLING = ("masked_fill", "masked_fill_", "where")
OF_FILLS = frozenset(FILLING + SAME + SHAPES)  # operations that make fills, or pass them on


class Fill(NamedTuple):
    """A number that was to hide cells, the cells, and the tensor that holds it, so that its memory is not reused."""

    value: float
    hidden: torch.Tensor  # of the tensor's shape
    held: torch.Tensor


class WeakFills:
    """The tensors that hold a weak fill."""

    def __init__(self) -> None:
        self.known: OrderedDict[int, Fill] = OrderedDict()

    def clear(self) -> None:
        """Let go of all memory."""
        self.known.clear()

    def of(self, tensor: Any) -> Fill | None:
        """The fill of a tensor: one that was followed, or one that shows in its numbers."""
        if not isinstance(tensor, torch.Tensor) or tensor.is_nested or not tensor.is_floating_point():
            return None
        if tensor.layout is not torch.strided:
            return None
        return self._followed(tensor) or _in_numbers(tensor)

    def _followed(self, tensor: torch.Tensor) -> Fill | None:
        found = self.known.get(tensor.untyped_storage().data_ptr())
        fits = found is not None and found.hidden.numel() == tensor.numel()
        return found._replace(hidden=found.hidden.reshape(tensor.shape)) if found and fits else None

    def watch(self, function: Any, name: str, args: Any, kwargs: Any, result: Any) -> None:
        """Note what an operation did to fills; what cannot be followed is let go, for a model must run as it does alone."""
        try:
            self._watch(function, name, args, kwargs, result)
        except (RuntimeError, TypeError, ValueError, IndexError):
            self.clear()

    def _watch(self, function: Any, name: str, args: Any, kwargs: Any, result: Any) -> None:
        if not self.known and name in SHAPES:
            return
        if not isinstance(result, torch.Tensor) or result.is_nested or result.layout is not torch.strided:
            return
        if not result.is_floating_point():
            return
        found = next(self._found(function, name, args, kwargs, result), None)
        if found is not None:
            value, hidden = found
            self.known[result.untyped_storage().data_ptr()] = Fill(value, hidden.expand(result.shape), result)
            self.known.move_to_end(result.untyped_storage().data_ptr())
            while len(self.known) > MOST_HELD:
                self.known.popitem(last=False)

    def _found(
        self, function: Any, name: str, args: Any, kwargs: Any, result: torch.Tensor
    ) -> Iterator[tuple[float, torch.Tensor]]:
        if name in FILLING:
            yield from self._filled(name, args)
        elif name in SHAPES:
            known = self._followed(args[0])  # numbers tell as much afterwards
            if known:
                hidden = known.hidden
                yield (
                    known.value,
                    hidden.reshape(result.shape) if name in VIEWS else function(hidden, *args[1:], **kwargs),
                )
        else:
            operands = [part for part in args[: 1 if name == "baddbmm" else 2] if isinstance(part, torch.Tensor)]
            yield from ((known.value, known.hidden) for known in map(self.of, operands) if known)

    def _filled(self, name: str, args: Any) -> Iterator[tuple[float, torch.Tensor]]:
        if name == "where":
            condition, *branches = args
            for branch, hidden in zip(branches, (condition, ~condition), strict=False):
                if _weak(branch) is not None:
                    yield _weak(branch) or 0.0, hidden
            return
        before, hidden, value = args[:3]
        if _weak(value) is not None:
            yield _weak(value) or 0.0, hidden
        known = self.of(before) if self.known else None
        if known is not None:
            yield known.value, known.hidden & ~hidden


def _weak(value: Any) -> float | None:
    """A number, or a tensor of one number, that is a weak fill."""
    if isinstance(value, torch.Tensor):
        if value.dim() or not value.is_floating_point():
            return None
        value = value.item()
    return float(value) if -GAP < value <= WEAKEST else None


def _in_numbers(tensor: torch.Tensor) -> Fill | None:
    """The fill of a tensor that holds 0 and one weak fill, and nothing else; most are told by a few of their numbers."""
    if tensor.dim() < 2 or not tensor.numel() or not _may_be(tensor[(0,) * tensor.dim()].item()):
        return None
    last = tensor[(-1,) * (tensor.dim() - 1)]
    first = tensor[(0,) * (tensor.dim() - 1)]
    step = max(1, len(first) // SAMPLED)
    some = {*first[::step].tolist(), *last[::step].tolist()}
    if len(some) > 2 or not all(map(_may_be, some)):
        return None
    low, high = map(float, torch.aminmax(tensor))
    if high != 0 or not -GAP < low <= WEAKEST:
        return None
    hidden = tensor == low
    return Fill(low, hidden, tensor) if bool((hidden | (tensor == 0)).all()) else None


def _may_be(number: float) -> bool:
    """Whether a tensor with this number may hold 0 and one weak fill alone."""
    return not number or -GAP < number <= WEAKEST


@dataclass(frozen=True)
class WeaklyMasked(Call):
    """An attention call to which a weak fill was added.

    Attributes:
        fill: the number.
        meant: what would be visible if the fill hid, of the shape of ``visible``.
    """

    fill: float = 0.0
    meant: NDArray[np.bool_] | None = None

    @property
    def findings(self) -> list[Finding]:
        """What looks wrong about this call, the fill first."""
        where = f"the scores of this call, {int((~self.meant).sum())} cells" if self.meant is not None else "its scores"
        return [weak_fill_of(self.fill, where, self._meant_in_words()), *super().findings]

    def _meant_in_words(self) -> str:
        if self.meant is None or self.meant.size > MOST_CELLS:
            return ""
        found = fits(self.meant)[0].mask
        return "" if is_table(found) else str(found)
