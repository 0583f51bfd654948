"""What a call with a selection runs: the file of the arrays' library, after the same checks as for a mask."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.selection import Selection
from attnmask.errors import InputError
from attnmask.lower.compiled import constant_when_compiled
from attnmask.run import selected
from attnmask.run.contract import checked_frame, checked_library


def selecting(
    selection: Selection, frame: Frame | int | None, engine: str | None, **arrays: Any
) -> tuple[ModuleType, Selection, Frame]:
    """The file that computes a call, its selection and its frame, after all checks."""
    library = checked_library(**arrays)
    in_frame = checked_frame(frame, selection.mask, arrays["q"], arrays["k"])
    return _module(engine, library), selection, in_frame


def _module(engine: str | None, library: str) -> ModuleType:
    # as an attribute: torch.compile may have looked at sys.modules before the import
    module: ModuleType = getattr(selected, _imported(engine, library))
    return module


@constant_when_compiled
def _imported(engine: str | None, library: str) -> str:
    """The name of the library's file, which is imported now; an engine that was named must be the library's own."""
    if engine not in (None, library):
        raise InputError(
            "a selection is computed by the engine of the arrays' library",
            f"engine={engine!r} for arrays of {library}",
            "Leave engine out",
        )
    importlib.import_module(f"{selected.__name__}.{library}")
    return library
