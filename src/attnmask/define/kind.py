"""``kind``: how a function of ``masks/`` becomes a named kind of mask, and the list of all kinds."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, ParamSpec

from attnmask.define.language import Named
from attnmask.define.mask import Mask
from attnmask.define.tables import Table

P = ParamSpec("P")


def kind(function: Callable[P, Mask], prepare: Callable[..., dict[str, Any]] | None = None) -> Callable[P, Mask]:
    """Make a function that returns a mask into a named kind: its result prints as the call that made it.

    Arrays among the arguments arrive as ``Table``; arguments left at their default are not printed.

    Args:
        function: makes the mask.
        prepare: is called with the arguments first, and says in plain lists and numbers what no table can hold.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def build(*args: P.args, **kwargs: P.kwargs) -> Mask:
        bound = signature.bind(*args, **kwargs)
        if prepare is not None:
            bound.arguments.update(prepare(**bound.arguments))
        bound.arguments = {name: _freeze(value) for name, value in bound.arguments.items()}
        body = function(*bound.args, **bound.kwargs)
        return Mask(Named(function.__name__, tuple(_printed(signature, bound)), body.node))

    return build


def _freeze(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str, Table)):
        return value
    if isinstance(value, Mask):
        return value.node
    if hasattr(value, "__index__") and not getattr(value, "shape", ()):
        return value.__index__()
    return Table.of(value)


def _printed(signature: inspect.Signature, bound: inspect.BoundArguments) -> list[tuple[str | None, Any]]:
    """The given arguments: positional while none before them was left out, then by keyword."""
    printed: list[tuple[str | None, Any]] = []
    positional = True
    for name, parameter in signature.parameters.items():
        value = bound.arguments.get(name, parameter.default)
        if _same_default(value, parameter.default):
            positional = False
            continue
        positional = positional and parameter.kind is not parameter.KEYWORD_ONLY
        printed.append((None if positional else name, value))
    return printed


def _same_default(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and not isinstance(value, Table) and value == default)


@functools.cache
def kinds() -> dict[str, Callable[..., Mask]]:
    """All kinds by name: every file of ``masks/`` holds the function of its own name."""
    from attnmask.define import masks

    names = [module.name for module in pkgutil.iter_modules(masks.__path__)]
    return {name: getattr(importlib.import_module(f"{masks.__name__}.{name}"), name) for name in names}
