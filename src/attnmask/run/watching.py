"""Who is told of every call of ``attention``, with the mask that it was given; ``am.record`` is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask

Watcher = Callable[[Mask, Frame], AbstractContextManager[Any]]  # open while the call runs
WATCHERS: list[Watcher] = []


def watched(call: Callable[[], Any], mask: Any, frame: Any) -> Any:
    """The result of a call, of whose mask all are told; a selection has no mask before it has decided."""
    with ExitStack() as opened:
        for watcher in WATCHERS if isinstance(mask, Mask) else ():
            opened.enter_context(watcher(mask, frame))
        return call()
