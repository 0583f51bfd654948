"""One model decoded with a cache, with the weights that it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from attnmask.errors import InputError
from attnmask.verify.torch.cache import Departure, Way, cache_name, first_departure, takes_anything
from attnmask.verify.torch.subject import TorchSubject


def decoded(
    model: torch.nn.Module, ids: Any, chunks: Sequence[int] | None, output: Callable[[Any], Any] | None
) -> Departure | None:
    """Where decoding departs from one pass over everything, in float64 if the model runs in it."""
    if cache_name(model) is None and not takes_anything(model):
        raise InputError(
            "a decoder takes past_key_values and use_cache",
            type(model).__name__,
            "Give a model that is called as model(ids, past_key_values=cache, use_cache=True)",
        )
    subject: Any = TorchSubject(model, ids, output=output, fresh_weights=False).exact()
    length, half = subject.length, max(1, subject.length // 2)
    sizes = [half, *[1] * (length - half)] if chunks is None else list(chunks)
    if sum(sizes) != length or min(sizes, default=0) < 1:
        raise InputError(
            "chunks of at least 1 token add up to the length of ids (batch, length)",
            f"chunks {tuple(sizes)} for ids of shape {subject.arrays[subject.vary].shape}",
            "Write chunks=(prefill, 1, 1, ...)",
        )
    way = Way(subject.arrays, sizes, None, np.ones((subject.batch, length), bool))
    return first_departure(subject, way, subject.run(subject.arrays))
