"""Torch modules from outside: copies that share nothing, the names of their arguments, fresh weights, tensors for lists."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from attnmask.errors import InputError
from attnmask.verify.subjects.arrays import is_array
from attnmask.verify.subjects.inputs import PADDING_INPUTS, with_arrays


class Function(torch.nn.Module):  # type: ignore[misc]  # torch is not analysed
    """A function of tensors as a module without weights."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **named: Any) -> Any:
        return self.function(*args, **named)


def as_module(model: Any) -> torch.nn.Module:
    """A module as it is; a function as a module."""
    if (
        getattr(model, "built", True) is False
    ):  # of Keras, which makes weights at the first call, and cannot copy before
        raise InputError(
            "a Keras layer has its weights before it is checked",
            f"{type(model).__name__}, which was not called yet",
            "Call it once on such inputs",
        )
    return model if isinstance(model, torch.nn.Module) else Function(model)


def evaluated(model: torch.nn.Module) -> torch.nn.Module:
    """A module in eval mode; what was exported has the one that it was exported in."""
    try:
        return model.eval()
    except NotImplementedError:
        return model


def copied(model: torch.nn.Module, shared: Mapping[int, Any] | None = None) -> torch.nn.Module:
    """A copy of a module that shares nothing with it but what is named by its id, and what cannot be copied."""
    try:
        return copy.deepcopy(model, dict(shared or {}))
    except Exception:  # a lock, a generator, a tensor with a history: anything can be an attribute
        return _part_by_part(model, dict(shared or {}))


def _part_by_part(module: torch.nn.Module, known: dict[int, Any]) -> torch.nn.Module:
    """A copy of which only what cannot be copied is shared; ``known`` are the copies by what they are of."""
    if id(module) in known:
        found: torch.nn.Module = known[id(module)]
        return found
    other = known[id(module)] = object.__new__(type(module))
    parts = {name: _part_by_part(part, known) for name, part in module._modules.items() if part is not None}
    own = {"_parameters": _cloned(module._parameters, known), "_buffers": _cloned(module._buffers, known)}
    rest = {name: _own(value, known) for name, value in vars(module).items() if name not in (*own, "_modules")}
    other.__dict__.update(rest | own | {"_modules": dict.fromkeys(module._modules) | parts})
    return other


def _cloned(tensors: Mapping[str, torch.Tensor | None], known: dict[int, Any]) -> dict[str, Any]:
    for tensor in tensors.values():
        if tensor is not None and id(tensor) not in known:
            clone = tensor.detach().clone()
            known[id(tensor)] = torch.nn.Parameter(clone, tensor.requires_grad) if _is_weight(tensor) else clone
    return {name: None if tensor is None else known[id(tensor)] for name, tensor in tensors.items()}


def _is_weight(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter)


def _own(value: Any, known: dict[int, Any]) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    try:
        return copy.deepcopy(value, dict(known))
    except Exception:  # a lock, say: what cannot be copied is shared
        return value


def argument_names(model: torch.nn.Module) -> list[str]:
    """What a module's forward takes; of a compiled script by its schema, none where nothing is said."""
    forward = model.function if isinstance(model, Function) else model.forward
    schema = getattr(forward, "schema", None)
    if schema is not None:
        return [argument.name for argument in schema.arguments if argument.name != "self"]
    try:
        return list(inspect.signature(forward).parameters)
    except (TypeError, ValueError):
        return []


def in_torch(model: torch.nn.Module, inputs: Any) -> dict[str, Any] | Any:
    """Inputs as a module takes them: one array under the first argument's name, if that has known companions; as tensors."""
    if not isinstance(inputs, Mapping):
        first = next(iter(argument_names(model)), "")
        if first not in PADDING_INPUTS:
            return _tensor(inputs, model)
        inputs = {first: inputs}
    arrays = with_arrays(dict(inputs), None)
    foreign = {name for name, value in arrays.items() if is_array(value) and not isinstance(value, torch.Tensor)}
    return arrays | {name: _tensor(arrays[name], model) for name in foreign}


def _tensor(value: Any, model: torch.nn.Module) -> Any:
    """An array, or a list, as a tensor in the number format of the weights."""
    if getattr(value, "is_nested", False):
        raise InputError(
            "inputs are arrays (batch, length, ...)",
            "a nested tensor",
            "Give the sequences padded, with a padding mask: torch.nested.to_padded_tensor(nested, 0.0)",
        )
    if isinstance(value, torch.Tensor) or not (is_array(value) or isinstance(value, (list, tuple))):
        return value
    tensor = torch.as_tensor(np.array(value))
    dtype = next((part.dtype for part in model.parameters() if part.is_floating_point()), tensor.dtype)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def randomise(model: torch.nn.Module, seed: int) -> None:
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


SIZES = ("chunk", "block", "window", "bucket", "local_attention")  # in names of what is counted in positions
OTHER = ("mlp", "num", "list", "layer", "per", "max", "hop")  # in names of what is not


def sizes_of(model: torch.nn.Module) -> dict[str, int]:
    """The sizes of blocks, chunks and windows that a model and its configuration name."""
    holders = [getattr(model, "config", None), *model.modules()]
    named = [(name, value) for holder in holders if holder is not None for name, value in vars(holder).items()]
    return {
        name: value
        for name, value in named
        if isinstance(value, int)
        and not isinstance(value, bool)
        and any(part in name for part in SIZES)
        and not any(part in name for part in OTHER)
    }
