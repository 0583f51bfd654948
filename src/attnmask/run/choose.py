"""Which engine computes a call.

An engine that is asked for runs or refuses, with its reason. Where none is asked for, arrays of NumPy and JAX go to the
engine named as their library; for tensors of torch the rules of ``fastest`` choose.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from types import ModuleType

import numpy as np

from attnmask.errors import InputError
from attnmask.exchange.common import EVERYTHING, is_causal_from_start
from attnmask.lower.forms import tiles
from attnmask.run import engines
from attnmask.run.compiled import constant_when_compiled
from attnmask.run.request import Request

# The rules for a GPU follow from what is computed, not from a measurement of ours: PyTorch reports FlexAttention at 0.85
# to 0.9 of FlashAttention 2 (pytorch.org/blog/flexattention), and SDPA with a dense mask computes every block with
# another, slower kernel. Shorter calls are mostly launch, for which compiling is not worth its seconds.
LONG = 1 << 20  # pairs per head from which FlexAttention is considered
SPARSE = 0.5  # of the 128 x 128 blocks that are not empty, up to which it is taken


@functools.cache
def engine_names() -> tuple[str, ...]:
    """The names of all engines: the files of ``engines/``.

    >>> engine_names()
    ('cpu', 'flash_attn', 'flex', 'jax', 'numpy', 'torch')
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(engines.__path__)))


def choose(engine: str | None, request: Request) -> ModuleType:
    """The engine that was asked for, which refuses if it cannot run the request; else the fastest that can."""
    if engine is None:
        return named(fastest(request), request.library)
    module = named(engine, request.library)
    reason = module.refusal(request)
    if reason is not None:
        raise InputError(
            f"the engine {engine!r} must be able to run the call", reason, "Leave engine out to take one that can"
        )
    return module


def fastest(request: Request) -> str:
    """The name of the engine to take where none is asked for."""
    mask, frame, device = request.mask, request.frame, request.setting.device
    if request.library != "torch" or device not in ("cpu", "cuda"):
        return request.library
    if device == "cpu":
        return "cpu" if refusal("cpu", request) is None and _module("cpu").pays(request) else "torch"
    if mask == EVERYTHING or is_causal_from_start(mask, frame):
        return "torch"
    if refusal("flash_attn", request) is None:
        return "flash_attn"
    if frame.q_len * frame.kv_len >= LONG and refusal("flex", request) is None and _blocks(request) <= SPARSE:
        return "flex"
    return "torch"


def _blocks(request: Request) -> float:
    """The part of all 128 x 128 blocks in which something is visible."""
    found = tiles.lower(request.mask, request.frame)
    return int(found.runs.length.sum()) / int(np.prod(found.shape))


def refusal(engine: str, request: Request) -> str | None:
    """Why an engine cannot run a request; None if it can."""
    try:
        module = _module(engine)
    except ModuleNotFoundError as error:
        return f"the package {error.name} is not installed"
    if request.library != module.LIBRARY:
        return f"it computes with arrays of {module.LIBRARY}, not of {request.library}"
    reason: str | None = module.refusal(request)
    return reason


def named(engine: str | None, library: str) -> ModuleType:
    """The engine of a name, or of the library where there is no name, without asking whether it can run a call."""
    return sys.modules[_imported(engine, library, False)]


def named_for_compiler(engine: str | None, library: str) -> ModuleType:
    """The same while torch.compile is looking, which only the engine of the library is made for."""
    module: ModuleType = getattr(engines, _imported(engine, library, True).rpartition(".")[2])  # set by its import
    return module


@constant_when_compiled
def _imported(engine: str | None, library: str, compiling: bool) -> str:
    """The name of the engine's module, which is imported now."""
    if engine is not None and engine not in engine_names():
        raise InputError(
            f"engine is one of {', '.join(engine_names())}",
            repr(engine),
            "Leave engine out to take the one of the arrays' library",
        )
    module = _module(engine or library)
    if library != module.LIBRARY:
        raise InputError(
            f"the engine {engine!r} computes with arrays of {module.LIBRARY}",
            f"arrays of {library}",
            f"Convert q, k and v to {module.LIBRARY}, or leave engine out",
        )
    if compiling and engine not in (None, library):
        raise InputError(
            f"inside torch.compile the engine is {library!r}",
            repr(engine),
            "Leave engine out, or hand am.export(mask, 'torch.flex', frame) into the compiled function",
        )
    return module.__name__


def _module(engine: str) -> ModuleType:
    return importlib.import_module(f"{engines.__name__}.{engine}")
