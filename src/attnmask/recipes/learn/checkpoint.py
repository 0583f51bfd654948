"""Checkpoints: one file with weights, optimizer and state, which is whole or not there at all.

A new one is written beside the old one, flushed to the disk, and then takes its name. What else a run needs to go on
bit for bit is no state: the order of the data and all chance follow from the seed and the number of the step.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as as_bytes
from torch.distributed.checkpoint import state_dict as distributed

from attnmask.errors import InputError

WHOLE = distributed.StateDictOptions(full_state_dict=True, cpu_offload=True)
MODEL, OPTIMIZER = "model.", "optimizer."


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that its name stands for the old content or the new one, never for a part.

    Raises:
        OSError: it cannot be written, for example because the disk is full; the old file is untouched.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        if isinstance(error, OSError):
            kept = "; the one of before is kept" if path.exists() else ""
            raise OSError(error.errno, f"{error.strerror}{kept}", str(path)) from error
        raise


class Whole(NamedTuple):
    """A model and its optimizer: tensors by name, and the settings of the optimizer's groups of weights."""

    tensors: dict[str, torch.Tensor]
    groups: list[dict[str, Any]]


def collect(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Whole:
    """Everything there is, whole on every kind of wrapper; all processes call it together."""
    weights, other = distributed.get_state_dict(model, optimizer, options=WHOLE)
    tensors = {MODEL + name: tensor for name, tensor in weights.items()}
    for name, parts in other.get("state", {}).items():
        tensors |= {f"{OPTIMIZER}{name}.{part}": tensor for part, tensor in parts.items()}
    return Whole(tensors, other.get("param_groups", []))


def save(path: Path, whole: Whole, state: dict[str, Any]) -> None:
    """Write what ``collect`` found, and a state of plain JSON.

    Raises:
        OSError: it cannot be written; the checkpoint of before is untouched.
    """
    tensors = {name: tensor.contiguous() for name, tensor in whole.tensors.items()}
    metadata = {"state": json.dumps(state), "groups": json.dumps(whole.groups)}
    replace_file(path, as_bytes(tensors, metadata=metadata))


def restore(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a checkpoint into a model and its optimizer; its state comes back.

    Raises:
        InputError: the file is no checkpoint, or not of this model.
    """
    tensors, metadata = _read(path)
    weights: dict[str, Any] = {}
    moments: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        if name.startswith(MODEL):
            weights[name.removeprefix(MODEL)] = tensor
        else:
            of, _, part = name.removeprefix(OPTIMIZER).rpartition(".")
            moments.setdefault(of, {})[part] = tensor
    optim = {"state": moments, "param_groups": json.loads(metadata["groups"])}
    try:
        distributed.set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=optim, options=WHOLE)
    except (RuntimeError, KeyError) as error:
        raise InputError(
            "a run goes on with the model it began with",
            f"{path}: {str(error).splitlines()[0]}",
            "Take another --out, or the settings of before",
        ) from None
    state: dict[str, Any] = json.loads(metadata["state"])
    return state


def weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights of a checkpoint, under the names of the model, and its state.

    Raises:
        InputError: the file is no checkpoint.
    """
    prefix = MODEL + "model."  # training holds the model in a module of the name ``model``
    values, metadata = _read(path, prefix)
    return {name.removeprefix(prefix): value for name, value in values.items()}, json.loads(metadata["state"])


def _read(path: Path, prefix: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}, metadata  # noqa: SIM118 -- the file is no mapping
    except (OSError, SafetensorError) as error:
        raise InputError(
            "a folder to go on with holds a checkpoint",
            f"{path}: {error}",
            "Train first: attnmask train RECIPE --out DIR",
        ) from None
