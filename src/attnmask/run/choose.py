"""Which engine computes a call."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

from attnmask.errors import InputError
from attnmask.run import engines
from attnmask.run.compiled import constant_when_compiled


def engine_names() -> tuple[str, ...]:
    """The names of all engines: the files of ``engines/``.

    >>> engine_names()
    ('jax', 'numpy', 'torch')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(engines.__path__)))


def choose(engine: str | None, library: str) -> ModuleType:
    """The engine that was asked for, or the one of the arrays' library; never another one instead."""
    return sys.modules[_imported(engine, library)]


@constant_when_compiled
def _imported(engine: str | None, library: str) -> str:
    """The name of the engine's module, which is imported now."""
    if engine is not None and engine not in engine_names():
        raise InputError(
            f"engine is one of {', '.join(engine_names())}",
            repr(engine),
            "Leave engine out to take the one of the arrays' library",
        )
    module = importlib.import_module(f"{engines.__name__}.{engine or library}")
    if library != module.LIBRARY:
        raise InputError(
            f"the engine {engine!r} computes with arrays of {module.LIBRARY}",
            f"arrays of {library}",
            f"Convert q, k and v to {module.LIBRARY}, or leave engine out",
        )
    return module.__name__
