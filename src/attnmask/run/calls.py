"""What a call runs, settled once for all calls with the same mask and the same shapes."""

from __future__ import annotations

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.arrays import exporting
from attnmask.lower.compiled import compiling
from attnmask.run.choose import choose, imported, name_for_compiler, named
from attnmask.run.contract import checked_frame, checked_library, checked_mask
from attnmask.run.engines import Engine
from attnmask.run.request import request_of, setting_of

Settled = tuple[Engine, Mask, Frame]

MOST = 1024  # calls that are remembered
_SETTLED: dict[Any, Settled] = {}


def settled(
    mask: Mask | str | None, frame: Frame | int | None, engine: str | None, lse: bool = False, **arrays: Any
) -> Settled:
    """The engine of a call, its mask and its frame, after all checks."""
    key = None if compiling() else _key(mask, frame, engine, lse, arrays)
    known = _SETTLED.get(key) if key is not None else None
    if known is not None:
        return known
    found = _checked(mask, frame, engine, lse, arrays)
    if key is not None:
        if len(_SETTLED) >= MOST:
            _SETTLED.clear()
        _SETTLED[key] = found
    return found


def _key(mask: Any, frame: Any, engine: Any, lse: bool, arrays: dict[str, Any]) -> Any:
    """All that the checks look at; None where something cannot be a key, which the checks will refuse."""
    try:
        key = (
            mask,
            frame,
            engine,
            lse,
            setting_of(arrays),
            *[(type(array), array.shape, array.dtype) for array in arrays.values()],
        )
        hash(key)
    except (AttributeError, TypeError, RuntimeError):  # a nested tensor has no shape
        return None
    return key


def _checked(mask: Any, frame: Any, engine: str | None, lse: bool, arrays: dict[str, Any]) -> Settled:
    library = checked_library(**arrays)
    of_call = checked_mask(mask)
    in_frame = checked_frame(frame, of_call, arrays["q"], arrays["k"])
    return _engine(engine, library, of_call, in_frame, lse, arrays), of_call, in_frame


def _engine(engine: str | None, library: str, mask: Mask, frame: Frame, lse: bool, arrays: dict[str, Any]) -> Engine:
    if "v" not in arrays:  # attention_weights, which each engine of a library's name has
        engine = library
    if compiling():
        engine = library if engine is None and exporting() else engine  # plain operations, which run anywhere
        return imported(name_for_compiler(engine, library, mask, frame, arrays))
    request = request_of(library, mask, frame, arrays)
    return named(choose(engine, request._replace(setting=request.setting._replace(lse=lse))))
