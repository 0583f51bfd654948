"""Load what an audit is about: ``package.module:factory``, or ``transformers:ClassName``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.errors import MissingExtra, TargetError, require

LENGTH = 16  # positions of the inputs that are made here


class Target(NamedTuple):
    """A model, inputs for it, and what each input that is probed may reach (None: the one main input)."""

    name: str
    model: Any
    inputs: Any
    allowed: Mapping[Any, Mask]


def load(target: str) -> Target:
    """The model that a target names.

    ``package.module:factory`` calls the factory, which returns a model, ``(model, inputs)`` or
    ``(model, inputs, allowed)``; modules are also looked for in the current folder. ``transformers:GPT2LMHeadModel``
    builds any Hugging Face class small, with random weights; nothing is downloaded.
    """
    module, colon, attribute = target.partition(":")
    if not (module and colon and attribute):
        raise TargetError(
            "a target is package.module:factory or transformers:ClassName",
            repr(target),
            "Write for example transformers:GPT2LMHeadModel",
        )
    if module == "transformers":
        return _from_transformers(target, attribute)
    factory = getattr(_import(module, target), attribute, None)
    if not callable(factory):
        raise TargetError(
            "the name after the colon is a function or class", f"{target!r}: {attribute} is {factory!r}", "Define it"
        )
    return _from_factory(target, factory())


def _from_transformers(target: str, class_name: str) -> Target:
    require("torch", "torch")
    require("transformers", "transformers")
    from attnmask.verify.torch.transformers import build

    built = build(class_name)
    return Target(target, built.model, built.inputs, built.allowed)


def _import(module: str, target: str) -> Any:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except MissingExtra:
        raise
    except Exception as error:  # anything can go wrong in a user's module
        raise TargetError(
            "the module before the colon can be imported from here",
            f"{target!r}: {type(error).__name__}: {error}",
            "Run from the folder that holds it, or install it",
        ) from error
    finally:
        if added:
            sys.path.remove(here)


def _from_factory(target: str, made: Any) -> Target:
    model, inputs, allowed = (*made, None, None)[:3] if isinstance(made, tuple) else (made, None, None)
    if inputs is None:
        inputs = _ids_for(target, model)
    allowed = causal() if allowed is None else allowed
    return Target(target, model, inputs, allowed if isinstance(allowed, Mapping) else {None: allowed})


def _ids_for(target: str, model: Any) -> Any:
    """Random token ids for a model with an embedding layer."""
    torch = require("torch", "torch")
    parts = model.modules() if hasattr(model, "modules") else ()
    sizes = [part.num_embeddings for part in parts if isinstance(part, torch.nn.Embedding)]
    if not sizes:
        raise TargetError(
            "a factory returns a model with an embedding layer, or (model, inputs)",
            f"{target!r}, which gave {type(model).__name__}",
            "Return (model, inputs): token ids (batch, length), embeddings (batch, length, dim), or a dict",
        )
    return torch.randint(0, sizes[0], (1, LENGTH), generator=torch.Generator().manual_seed(0))
