"""Decoding with a key/value cache against one pass over everything."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch

from attnmask.errors import InputError
from attnmask.verify.arrays import main_output

TOLERANCE = 1e-6  # relative to the largest output; in float64, with float32 inside some attention implementations


class Difference(NamedTuple):
    """Where decoding first departs from the full pass, and how far."""

    chunk: int
    position: int
    size: float


def first_difference(
    model: torch.nn.Module, ids: torch.Tensor, chunks: Sequence[int], output: Callable[[Any], Any] | None
) -> Difference | None:
    """Run a copy in float64 on all of ``ids``, and on chunks of them with ``past_key_values``."""
    if ids.dim() != 2 or sum(chunks) != ids.shape[1] or min(chunks) < 1:
        raise InputError(
            "chunks of at least 1 token add up to the length of ids (batch, length)",
            f"chunks {tuple(chunks)} for ids of shape {tuple(ids.shape)}",
            "Write chunks=(prefill, 1, 1, ...)",
        )
    model = copy.deepcopy(model).eval().double()
    take = output or main_output
    with torch.no_grad():
        whole = take(model(ids))
        largest = float(whole.abs().max())
        cache = None
        ends = list(accumulate(chunks))
        for number, (size, end) in enumerate(zip(chunks, ends, strict=True)):
            result = model(ids[:, end - size : end], past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            apart = (take(result) - whole[:, end - size : end]).abs().flatten(2).amax((0, 2))  # (size,)
            wrong = torch.nonzero(~(apart <= TOLERANCE * largest))
            if len(wrong):
                place = int(wrong[0])
                return Difference(number, end - size + place, float(apart[place]))
    return None
