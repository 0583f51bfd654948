"""Decoding with a cache against one pass over everything."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from attnmask.errors import InputError
from attnmask.verify.judging.probe import departed, largest
from attnmask.verify.subjects.arrays import Array, to_numpy
from attnmask.verify.subjects.excerpt import excerpt
from attnmask.verify.subjects.subject import repeatable
from attnmask.verify.torch.departing import first_departing
from attnmask.verify.torch.modules import argument_names
from attnmask.verify.torch.parts import Place

if TYPE_CHECKING:
    from attnmask.verify.torch.subject import TorchSubject

CACHES = ("past_key_values", "cache_params", "state")  # the names of caches, in calls and in results


class Way(NamedTuple):
    """One way to decode sequences.

    Attributes:
        arrays: all inputs of the sequences (rows, length, ...).
        chunks: how many tokens each call gets.
        padding: the name of the padding mask, which grows with the cache.
        valid: the tokens that are real (rows, length); the others are not compared.
        reordered: which rows go on after the first call, as beams do.
        spare: how many slots more than tokens a cache of a fixed size has; None for a cache that grows.
    """

    arrays: dict[str, Array]
    chunks: list[int]
    padding: str | None
    valid: Array
    reordered: list[int] | None = None
    spare: int | None = None


class Departure(NamedTuple):
    """Where decoding first departs from the full pass, how far, and the first module that does."""

    call: int
    row: int
    position: int
    size: float
    module: str | None


class Step(NamedTuple):
    """One call of decoding: its first token, and its outputs (rows, tokens, features)."""

    start: int
    found: Array


def cache_name(model: torch.nn.Module) -> str | None:
    """The name under which a model says that it takes a cache; None if it says nothing."""
    known = argument_names(model)
    names = CACHES if "use_cache" in known else CACHES[:2]
    return next((name for name in names if name in known), None)


def takes_anything(model: torch.nn.Module) -> bool:
    """Whether a model may take a cache without saying so."""
    kinds = {parameter.kind for parameter in inspect.signature(model.forward).parameters.values()}
    return inspect.Parameter.VAR_KEYWORD in kinds


def first_departure(subject: TorchSubject, way: Way, expected: Array) -> Departure | None:
    """Decode sequences with a cache, and compare with what one pass over all of them gives."""
    subject = subject.with_inputs(**way.arrays)
    rows, scale = range(len(way.valid)), largest(expected)
    for call, (start, found) in enumerate(_steps(subject, way)):
        of = way.reordered if call and way.reordered else rows
        for row, whole in enumerate(of):
            tokens = slice(start, start + found.shape[1])
            apart, others = departed(found[row], expected[whole, tokens], scale)
            others = others[way.valid[whole, tokens][others]]
            if len(others):
                token = int(others[0])
                module = _module(subject, way, call, (row, whole), (token, start))
                return Departure(call, row, start + token, float(apart[token]), module)
    return None


def _steps(subject: TorchSubject, way: Way) -> Iterator[Step]:
    """Each call of decoding."""
    name, cache, ends = cache_name(subject.model) or CACHES[0], _empty(subject, way), list(accumulate(way.chunks))
    for call, end in enumerate(ends):
        start = end - way.chunks[call]
        arrays = excerpt(subject, start, end).arrays
        arrays = _with_mask(subject, arrays, way.padding, end)
        if call == 1 and way.reordered:
            cache = _reordered(subject.model, cache, way.reordered)
            subject = subject.with_inputs(**_rows(subject, subject.arrays, way.reordered))
            arrays = _rows(subject, arrays, way.reordered)
        found, cache = _called(subject, arrays, name, cache)
        if way.spare is not None:
            _fill_unused(subject, cache)
        yield Step(start, found)


def _with_mask(subject: TorchSubject, arrays: dict[str, Array], name: str | None, end: int) -> dict[str, Array]:
    """Inputs with the padding mask of all tokens so far; a state has no room for pads after the first call."""
    if name not in arrays:
        return arrays
    if cache_name(subject.model) in (None, CACHES[0]) or end == arrays[name].shape[1]:
        return arrays | {name: subject.arrays[name][:, :end]}
    return {key: array for key, array in arrays.items() if key != name}


def _called(subject: TorchSubject, arrays: dict[str, Array], name: str, cache: Any) -> tuple[Array, Any]:
    """The outputs of one call, and the cache after it."""
    left_out = (subject.arrays.keys() - arrays.keys()) | set(CACHES)
    given = {key: value for key, value in subject.native(arrays).items() if key not in left_out}
    if "use_cache" in argument_names(subject.model) or takes_anything(subject.model):
        given["use_cache"] = True
    if cache is not None:
        given[name] = cache
    alone = [] if subject.named else [given.pop(subject.vary)]
    with torch.no_grad(), repeatable(subject.seed):
        result = subject.model(*alone, **given)
    after = next((getattr(result, one) for one in (name, *CACHES) if getattr(result, one, None) is not None), None)
    if after is None:
        raise InputError(
            "a call with use_cache=True gives the cache back",
            f"{type(result).__name__} without {name}",
            f"Let the model return an object with .{name}",
        )
    found, length = to_numpy(subject.output(result)), arrays[subject.vary].shape[1]
    if found.shape[1] != length:
        raise InputError(
            "a call gives one output for each of its tokens",
            f"shape {found.shape} for {length} tokens",
            "Let it give all of them, or choose them with output=",
        )
    return found.reshape(*found.shape[:2], -1), after


def _rows(subject: TorchSubject, arrays: dict[str, Array], order: list[int]) -> dict[str, Array]:
    return {name: array[order] if array.shape[:1] == (subject.batch,) else array for name, array in arrays.items()}


def _empty(subject: TorchSubject, way: Way) -> Any:
    """The cache of the first call: the model's own choice, or one of a fixed size."""
    if way.spare is None:
        return None
    if not getattr(subject.model, "_can_compile_fullgraph", False):
        raise InputError(
            "a model that takes a cache of a fixed size says so",
            f"{type(subject.model).__name__} without _can_compile_fullgraph = True",
            "Decode it with a cache that grows",
        )
    from attnmask.verify.torch.transformers_cache import static_cache

    return static_cache(subject.model, subject.length + way.spare)


def _fill_unused(subject: TorchSubject, cache: Any) -> None:
    from attnmask.verify.torch.transformers_cache import fill_unused

    with repeatable(subject.seed):
        fill_unused(cache)


def _reordered(model: torch.nn.Module, cache: Any, order: list[int]) -> Any:
    """A cache whose rows are others, by the cache itself or by the model."""
    rows = torch.tensor(order, device=next((weight.device for weight in model.parameters()), None))
    if hasattr(cache, "reorder_cache"):
        return cache.reorder_cache(rows) or cache
    reorder: Callable[..., Any] | None = getattr(model, "_reorder_cache", None)
    if reorder is None:
        raise InputError(
            "rows of a cache are reordered by cache.reorder_cache(rows) or model._reorder_cache(cache, rows)",
            f"{type(cache).__name__} of {type(model).__name__}",
            "Give the cache a method reorder_cache",
        )
    return reorder(cache, rows)


def _module(subject: TorchSubject, way: Way, call: int, rows: tuple[int, int], place: tuple[int, int]) -> str | None:
    """The first module that departs in a call, at a token that is in one row there, and in another one of the full pass."""
    (row, whole), (token, start) = rows, place
    count, size = len(way.valid), way.chunks[call]
    places = (
        Place(whole, start + token, (subject.length,) * 2, (count,) * 2),
        Place(row, token, (size,) * 2, (len(way.reordered or way.valid),) * 2),
    )
    steps = _steps(subject, way)
    for _ in range(call):
        next(steps)
    return first_departing(subject.model, lambda: subject.run(way.arrays), lambda: next(steps), places)
