"""Where a run on a part of a sequence first departs from the run on all of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from attnmask.verify.judging.probe import TOLERANCE
from attnmask.verify.torch.parts import Place, Work, watched


def first_departing(
    model: torch.nn.Module, whole: Callable[[], Any], part: Callable[[], Any], places: tuple[Place, Place]
) -> str | None:
    """The first part of a model that gives others in the second run, at the same token, although it is given the same.

    Args:
        model: the model.
        whole: the first run.
        part: the second one, in which some modules may not be called.
        places: where the token stands in the two runs.
    """
    calls: dict[str, list[Work]] = defaultdict(list)
    for work in watched(model, whole):
        calls[work.name].append(work)
    for work in watched(model, part):
        if not calls[work.name]:
            continue
        before = calls[work.name].pop(0)
        if _departs(before.outside, work.outside, places) and not _departs(before.inside, work.inside, places):
            return work.name
    return None


def _departs(whole: list[torch.Tensor], part: list[torch.Tensor], places: tuple[Place, Place]) -> bool:
    return any(_apart(places[0].of(one), places[1].of(other)) for one, other in zip(whole, part, strict=False))


def _apart(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None or one.numel() != other.numel():  # of a batch of one, the axis may still be there
        return False
    one, other = (tensor.double().nan_to_num().flatten() for tensor in (one, other))
    return bool((one - other).abs().max() > TOLERANCE * one.abs().max())
