"""Progress: who is told what is done next."""

from __future__ import annotations

import sys
from collections.abc import Callable

Progress = Callable[[str], None]


def teller(progress: Progress | bool | None) -> Progress:
    """A function of each sentence: the given one; for True one that prints; for None one that prints on a terminal only."""
    if callable(progress):
        return progress
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return _print if progress or (progress is None and on_terminal) else lambda sentence: None


def _print(sentence: str) -> None:
    print(f"  .. {sentence}", file=sys.stderr, flush=True)
