"""Which engine computes a call: the one that was asked for, which refuses if it cannot, else the one that costs least."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from operator import index
from typing import Any, cast

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import InputError
from attnmask.lower.compiled import Data, constant_when_compiled, data_of, frame_of, mask_of, sizes_of
from attnmask.run import engines
from attnmask.run.engines import Engine
from attnmask.run.request import Request, setting_now


@functools.cache
def engine_names() -> tuple[str, ...]:
    """The names of all engines: the folders of ``engines/``.

    >>> engine_names()
    ('cpu', 'flash_attn', 'flex', 'jax', 'numpy', 'torch')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(engines.__path__)))


def choose(engine: str | None, request: Request) -> str:
    """The name of the engine that was asked for, which refuses if it cannot run the request; else the fastest that can."""
    if engine is None:
        return fastest(request)
    _check(engine, request.library)
    reason = refusal(engine, request)
    if reason is not None:
        raise InputError(
            f"the engine {engine!r} must be able to run the call", reason, "Leave engine out to take one that can"
        )
    return engine


def fastest(request: Request) -> str:
    """The name of the engine that costs least; the one named as its library where others cost as much."""
    able = [name for name in engine_names() if refusal(name, request) is None]
    if len(able) == 1:
        return able[0]
    return min(able, key=lambda name: (named(name).cost(request), name != request.library))


def refusal(engine: str, request: Request) -> str | None:
    """Why an engine cannot run a request; None if it can."""
    library = library_of(engine)
    if request.library != library:
        return f"it computes with arrays of {library}, not of {request.library}"
    try:
        return named(engine).refusal(request)
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed"


@functools.cache
def library_of(engine: str) -> str:
    """Whose arrays an engine computes with, without importing that library."""
    return str(importlib.import_module(f"{engines.__name__}.{engine}").LIBRARY)


def named(engine: str) -> Engine:
    """The engine of a name, which is imported now."""
    return cast(Engine, importlib.import_module(f"{engines.__name__}.{engine}.engine"))


def imported(engine: str) -> Engine:
    """The same once it was imported, as an attribute, which torch.compile can look at."""
    return cast(Engine, getattr(engines, engine).engine)


def name_for_compiler(engine: str | None, library: str, mask: Mask, frame: Frame, arrays: dict[str, Any]) -> str:
    """The name of the engine of a call while torch.compile is looking, after ``named`` imported it."""
    q, k = arrays["q"], arrays["k"]
    v = arrays.get("v", k)
    sizes = tuple(index(size) for size in (q.shape[0], q.shape[1], k.shape[1], q.shape[3], v.shape[3]))
    return _name_for_compiler(engine, library, data_of(mask), sizes_of(frame), sizes, str(q.dtype), q.device.type)


@constant_when_compiled
def _name_for_compiler(
    engine: str | None, library: str, mask: Data, frame: Data, sizes: Data, dtype: str, device: str
) -> str:
    setting = setting_now(dtype, device, compiled=True)
    batch, heads, kv_heads, dim, dim_v = sizes
    told = (batch, heads, kv_heads, dim, dim_v)
    chosen = choose(engine, Request(library, mask_of(mask), frame_of(frame), *told, setting))
    named(chosen)
    return chosen


def _check(engine: str, library: str) -> None:
    if engine not in engine_names():
        raise InputError(
            f"engine is one of {', '.join(engine_names())}",
            repr(engine),
            "Leave engine out to take the one of the arrays' library",
        )
    if library != library_of(engine):
        raise InputError(
            f"the engine {engine!r} computes with arrays of {library_of(engine)}",
            f"arrays of {library}",
            f"Convert q, k and v to {library_of(engine)}, or leave engine out",
        )
