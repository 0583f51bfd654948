"""Load what an audit is about: ``package.module:factory``, or ``transformers:ClassName``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.text.parse import given
from attnmask.errors import MissingExtra, TargetError, require
from attnmask.verify.subjects.inputs import Inputs
from attnmask.verify.subjects.layout import asked

LENGTH = 16  # positions of the inputs that are made here


class Relation(NamedTuple):
    """What an output may depend on of one input, and the options of ``check`` to look at it."""

    allowed: Mask
    options: Mapping[str, Any] = {}


class Target(NamedTuple):
    """A model, inputs for it, and what of each input that is probed an output may see (None: the one main input)."""

    name: str
    model: Any
    inputs: Any
    relations: Mapping[str | None, Relation]


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


def with_relation(
    target: Target, vary: str | None, allowed: Mask | None, output: Callable[[Any], Any] | None
) -> Target:
    """The same target, of which one input is probed, or all under another mask, or another part of the result."""
    relations: dict[str | None, Relation]
    relations = dict(target.relations) if vary is None else {vary: target.relations.get(vary, Relation(causal()))}
    chosen = {} if output is None else {"output": output}
    return target._replace(
        relations={
            name: Relation(relation.allowed if allowed is None else allowed, {**relation.options, **chosen})
            for name, relation in relations.items()
        }
    )


def with_sizes(target: Target, length: int | None, batch: int | None, seed: int = 0) -> Target:
    """The same target with inputs of another length, or of more sequences: cut, or continued by random content."""
    if length is None and batch is None:
        return target
    vary, relation = next(iter(target.relations.items()))
    sized = Inputs(target.inputs, vary)
    axes = [relation.options.get(name) for name in ("batch_axis", "length_axis")]
    sized = sized.relaid(asked(sized.original, *axes))
    sized = sized if length is None else sized.at_length(length, seed)
    sized = sized if batch is None else sized.of_batch(batch, seed)
    inputs = sized.native(sized.arrays)
    return target._replace(inputs=inputs if sized.named else inputs["inputs"])


def _from_transformers(target: str, class_name: str) -> Target:
    require("torch", "torch")
    require("transformers", "transformers")
    from attnmask.verify.torch.transformers import build

    built = build(class_name)
    return Target(target, built.model, built.inputs, built.relations)


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
    relations = allowed if isinstance(allowed, Mapping) else {None: causal() if allowed is None else allowed}
    return Target(target, model, inputs, {name: Relation(given(mask)) for name, mask in relations.items()})


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
