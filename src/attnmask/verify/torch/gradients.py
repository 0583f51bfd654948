"""Derivatives of a module's outputs by its inputs, and by the embeddings of its ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from attnmask.verify.subjects.layout import Layout

AT_ONCE = 16  # derivatives

Floats = NDArray[np.float64]


class Leaf(NamedTuple):
    """A tensor to derive by, and its axes."""

    tensor: torch.Tensor
    layout: Layout


def jacobian(result: torch.Tensor, leaves: Sequence[Leaf], groups: NDArray[np.bool_], seed: int) -> Floats:
    """The largest derivative at each position (groups, keys), along one random direction per group of outputs (queries, ...)."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.from_numpy(groups).to(result.device)  # (groups, queries)
    directions = torch.randn(result.shape, generator=generator).to(result)  # never ones: blind behind a norm
    cotangents = torch.where(chosen.reshape(*chosen.shape, *[1] * (result.dim() - 1)), directions, 0)
    found = torch.cat([_slopes(result, leaves, part) for part in cotangents.split(AT_ONCE)])
    return np.asarray(found.double().cpu().numpy())


def steepness(result: torch.Tensor, leaves: Sequence[Leaf], seed: int) -> Floats:
    """The largest derivative of some numbers at each position (keys,), along one random direction."""
    direction = torch.randn(result.shape, generator=torch.Generator().manual_seed(seed)).to(result)
    return np.asarray(_slopes(result, leaves, direction[None])[0].double().cpu().numpy())


def _slopes(result: torch.Tensor, leaves: Sequence[Leaf], cotangents: torch.Tensor) -> torch.Tensor:
    """(cotangents, keys)."""
    tensors = [leaf.tensor for leaf in leaves]

    def derived(cotangent: torch.Tensor, *, batched: bool) -> tuple[torch.Tensor | None, ...]:
        options = {"is_grads_batched": batched, "retain_graph": True, "allow_unused": True}
        return tuple(torch.autograd.grad(result, tensors, cotangent, **options))

    try:
        parts = derived(cotangents, batched=True)
    except RuntimeError:  # what cannot be batched is done one by one
        rows = [derived(cotangent, batched=False) for cotangent in cotangents]
        parts = tuple(_stacked(column) for column in zip(*rows, strict=True))
    sizes = [_largest(part, leaf.layout) for part, leaf in zip(parts, leaves, strict=True) if part is not None]
    if not sizes:
        return torch.zeros(len(cotangents), leaves[0].layout.inside(leaves[0].tensor).shape[1])
    return torch.stack(sizes).amax(0)


def _stacked(column: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    return None if column[0] is None else torch.stack([part for part in column if part is not None])


def _largest(derivatives: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Of derivatives (cotangents, ...) the largest at each position of the first sequence: (cotangents, keys)."""
    inside = [layout.inside(one)[0].abs() for one in derivatives]
    return torch.stack([one.reshape(len(one), -1).amax(1) for one in inside])


Change = Callable[[torch.Tensor, Layout], torch.Tensor]
