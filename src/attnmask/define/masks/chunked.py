"""Chunks: attention inside consecutive blocks of positions (Llama 4's local layers, with ``causal()``)."""

from collections.abc import Iterator

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q, same
from attnmask.define.parts.found import Found
from attnmask.errors import MaskError


@kind
def chunked(size: int) -> Mask:
    """A query sees the keys of its own chunk: ``q // size == k // size``.

    >>> import attnmask as am
    >>> print(am.show(am.chunked(2), 4).text())
    chunked(2): 4 queries x 4 keys, 8 of 16 visible (50.0 %)
        0 1 2 3
      0 ■ ■ · ·
      1 ■ ■ · ·
      2 · · ■ ■
      3 · · ■ ■

    Args:
        size: positions per chunk, at least 1. Chunks start at position 0.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise MaskError("a chunk holds at least 1 position", f"size={size!r}", "Write chunked(8192)")
    return same(q // size, k // size)


def guesses(found: Found) -> Iterator[Mask]:
    """Chunks of any number that positions are divided by."""
    yield from map(chunked, found.divisors)


EXAMPLES = [(chunked(3), Frame(8)), (chunked(1), Frame(4)), (chunked(4), Frame(3, 10, align="end"))]
