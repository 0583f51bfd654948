"""Chunks of queries, with the keys that any of them may see: what selecting by content holds in memory at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from attnmask.define.bounds.bounds import bounds
from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.compiled import Data, compiling, constant_when_compiled, data_of, frame_of, mask_of, sizes_of

SCORES = 1 << 22  # of a chunk, over all batches and heads


class Chunk(NamedTuple):
    """Queries ``first .. stop`` of a call, counted from 0, and keys ``k_first .. k_stop``."""

    first: int
    stop: int
    k_first: int
    k_stop: int


def rows_of(copies: int, frame: Frame) -> int:
    """Queries of a chunk, for so many batches times heads."""
    return max(1, min(frame.q_len, SCORES // (copies * frame.kv_len)))


def chunks(mask: Mask, frame: Frame, rows: int, step: int) -> tuple[Chunk, ...]:
    """All queries in chunks; no query of a chunk sees a key outside of the chunk's.

    >>> import attnmask as am
    >>> frame = am.Frame(4096)
    >>> [(chunk.first, chunk.k_first, chunk.k_stop) for chunk in chunks(am.causal() & am.window(64), frame, 1024, 64)]
    [(0, 0, 1024), (1024, 960, 2048), (2048, 1984, 3072), (3072, 3008, 4096)]

    Args:
        mask: the mask.
        frame: where it is seen.
        rows: queries of a chunk.
        step: the first key is a multiple of this.
    """
    if compiling():
        return tuple(Chunk(*part) for part in _constant(data_of(mask), sizes_of(frame), rows, step))
    return _found(mask, frame, rows, step)


@constant_when_compiled
def _constant(mask: Data, sizes: Data, rows: int, step: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(part) for part in _found(mask_of(mask), frame_of(sizes), rows, step))


@functools.lru_cache(maxsize=256)
def _found(mask: Mask, frame: Frame, rows: int, step: int) -> tuple[Chunk, ...]:
    parts = [(first, min(first + rows, frame.q_len)) for first in range(0, frame.q_len, rows)]
    return tuple(Chunk(first, stop, *keys_between(mask, frame, first, stop, step)) for first, stop in parts)


def keys_between(mask: Mask, frame: Frame, first: int, stop: int, step: int) -> tuple[int, int]:
    """The first and last key that interval bounds cannot exclude, found by halving: bounds of a part are narrower."""
    fitted = fit(mask, frame)
    ranges = {
        "b": (0, fitted.batch - 1),
        "h": (0, fitted.heads - 1),
        "q": (fitted.q_start + first, fitted.q_start + stop - 1),
    }

    def empty(begin: int, end: int) -> bool:
        return not bounds(mask.node, {**ranges, "k": (begin, end - 1)})[1]

    begin = _last_true(lambda key: key == 0 or empty(0, key), frame.kv_len - 1)
    hidden = _last_true(lambda keys: keys == 0 or empty(frame.kv_len - keys, frame.kv_len), frame.kv_len - 1)
    begin -= begin % step
    return begin, max(frame.kv_len - hidden, begin + 1)


def _last_true(holds: Callable[[int], bool], largest: int) -> int:
    """The last number of 0 .. largest for which something holds that holds for 0, and never again after it failed."""
    low, high = 0, largest
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
