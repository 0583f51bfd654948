"""Which engine computes a call.

An engine that is asked for runs or refuses, with its reason. Where none is asked for, arrays of NumPy and JAX go to the
engine named as their library; for tensors of torch the rules of ``fastest`` choose.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from operator import index
from types import ModuleType
from typing import Any

import numpy as np

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import InputError
from attnmask.exchange.common import plain_in
from attnmask.lower.forms import tiles
from attnmask.run import engines
from attnmask.run.compiled import Data, constant_when_compiled, data_of, frame_of, mask_of, sizes_of
from attnmask.run.request import Request, setting_now

# The rules for a GPU follow from what is computed, not from a measurement of ours: PyTorch reports FlexAttention at 0.85
# to 0.9 of FlashAttention 2 (pytorch.org/blog/flexattention), and SDPA with a dense mask computes every block with
# another, slower kernel. Shorter calls are mostly launch, for which compiling is not worth its seconds.
LONG = 1 << 20  # pairs per head from which FlexAttention is considered
SPARSE = 0.5  # of the 128 x 128 blocks that are not empty, up to which it is taken


@functools.cache
def engine_names() -> tuple[str, ...]:
    """The names of all engines: the folders of ``engines/``.

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
    if plain_in(mask, frame) != "other":
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
    return sys.modules[_imported(engine, library)]


def named_for_compiler(
    engine: str | None, library: str, mask: Mask, frame: Frame, arrays: dict[str, Any]
) -> ModuleType:
    """The engine of a call while torch.compile is looking: the library's, or the compiled kernel."""
    q, k, v = arrays["q"], arrays["k"], arrays.get("v")
    sizes = tuple(index(size) for size in (q.shape[0], q.shape[1], k.shape[1], q.shape[3]))
    weights = v is None  # attention_weights
    told = (data_of(mask), sizes_of(frame), sizes, str(q.dtype), q.device.type, weights)
    folder = getattr(engines, _name_for_compiler(engine, library, *told))  # set by its import
    module: ModuleType = folder.engine
    return module


@constant_when_compiled
def _name_for_compiler(
    engine: str | None, library: str, mask: Data, frame: Data, sizes: Data, dtype: str, device: str, weights: bool
) -> str:
    if engine not in (None, library, "cpu"):
        raise InputError(
            f"inside torch.compile the engine is {library!r} or 'cpu'",
            repr(engine),
            "Leave engine out, or hand am.export(mask, 'torch.flex', frame) into the compiled function",
        )
    batch, heads, kv_heads, dim = sizes
    setting = setting_now(dtype, device)
    request = Request(library, mask_of(mask), frame_of(frame), batch, heads, kv_heads, dim, dim, setting)
    if engine == "cpu":
        return choose(engine, request).__name__.split(".")[-2]
    own = engine is None and not weights and device == "cpu" and fastest(request) == "cpu"
    return _imported("cpu" if own else library, library).split(".")[-2]


def _imported(engine: str | None, library: str) -> str:
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
    return module.__name__


def _module(engine: str) -> ModuleType:
    return importlib.import_module(f"{engines.__name__}.{engine}.engine")
