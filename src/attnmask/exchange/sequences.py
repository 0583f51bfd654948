"""The arguments of FlashAttention's functions for a mask: which rows and keys, sequence by sequence, in which window.

FlashAttention aligns causal and windows at the bottom right: its query i of a sequence stands at i + keys - queries.
A negative side of a window means no limit there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.errors import LoweringError
from attnmask.lower.arrays import numpy_of
from attnmask.lower.conjuncts import Known, split
from attnmask.lower.forms import varlen
from attnmask.lower.runs import spread

Ints = NDArray[np.int64]
Sides = tuple[int, int]

NO_LIMIT = -1


class Aligned(NamedTuple):
    """One call of ``flash_attn_func``: all queries, the first ``keys`` keys, a window aligned at the bottom right."""

    keys: int
    window: Sides


class Packed(NamedTuple):
    """One call of ``flash_attn_varlen_func``.

    Attributes:
        queries: places of its rows in the flattened (batch * q_len); None for all.
        keys: places of its keys in the flattened (batch * kv_len); None for all.
        cu_seqlens_q: int32, where each sequence starts among the rows, and where the last one ends.
        cu_seqlens_k: the same among the keys.
        max_seqlen_q: the longest sequence of rows.
        max_seqlen_k: the longest sequence of keys.
        window: (left, right) positions visible around a query, aligned at the bottom right.
    """

    queries: Ints | None
    keys: Ints | None
    cu_seqlens_q: NDArray[np.int32]
    cu_seqlens_k: NDArray[np.int32]
    max_seqlen_q: int
    max_seqlen_k: int
    window: Sides


@functools.lru_cache(maxsize=64)
def flash_calls(mask: Mask, frame: Frame, batch: int) -> Aligned | tuple[Packed, ...]:
    """The calls that compute a mask exactly; a row in none of them sees nothing.

    >>> import attnmask as am
    >>> flash_calls(am.causal() & am.window(3), am.Frame(2, 9, q_start=4), 1)
    Aligned(keys=6, window=(3, 0))
    >>> flash_calls(am.documents(lengths=[3, 2]), am.Frame(5), 1)[0].cu_seqlens_q
    array([0, 3, 5], dtype=int32)

    Args:
        mask: the mask.
        frame: where it is seen.
        batch: the batch size of q.

    Raises:
        LoweringError: FlashAttention cannot say the mask; the part that it cannot say is named.
    """
    found = _aligned(mask, frame) or _packed(mask, frame, batch)
    if not found:
        raise LoweringError("FlashAttention is called where something is visible", f"nothing in {mask}", "Write zeros")
    return found


def _aligned(mask: Mask, frame: Frame) -> Aligned | None:
    """A window without anything else; None where the mask is more, or the alignment cannot say it."""
    known, rest = split(mask, ("left", "right"))
    if rest is not None:
        return None
    fitted = fit(mask, frame)
    left, right = _smallest(known, "left"), _smallest(known, "right")
    keys = fitted.kv_len if right is None else min(fitted.kv_len, fitted.q_start + fitted.q_len + right)
    shift = keys - fitted.q_len - fitted.q_start  # FlashAttention's position of a query, less ours
    sides = (None if left is None else left + shift, None if right is None else right - shift)
    if keys < fitted.q_len or any(side is not None and side < 0 for side in sides):
        return None
    return Aligned(keys, _window(sides))


def _smallest(known: list[Known], name: str) -> int | None:
    return min((part.value for part in known if part.name == name), default=None)


def _window(sides: Sequence[int | None]) -> Sides:
    left, right = (NO_LIMIT if side is None else side for side in sides)
    return left, right


def _packed(mask: Mask, frame: Frame, batch: int) -> tuple[Packed, ...]:
    """Documents, chunks and right padding; the rows of padding are sequences of their own where a side is limited."""
    fitted = fit(mask, frame)
    padding, rest = split(mask, ("lengths",))
    rows, keys, sides = _sequences(rest, frame, fitted, batch)
    ends = _ends(padding, keys, fitted.kv_len, batch)
    row_starts, row_ends, key_starts = rows[:-1], rows[1:], keys[:-1]
    totals = (batch * fitted.q_len, batch * fitted.kv_len)
    if sides == (None, None):
        return _call(row_starts, row_ends, key_starts, ends, totals, _window(sides))
    late = (ends < row_ends) & (ends > key_starts)
    if (sides[0] is not None and late.any()) or any(side is not None and side < 0 for side in sides):
        raise LoweringError(
            "FlashAttention knows windows that hold the query's own position, and where there is padding, windows "
            "without a limit on the left",
            str(mask),
            "Hide the rows of padding by documents, or use another engine",
        )
    real = _call(row_starts, ends, key_starts, ends, totals, _window(sides))
    return real + _call(ends, row_ends, key_starts, ends, totals, (NO_LIMIT, NO_LIMIT))


def _sequences(
    rest: Mask | None, frame: Frame, fitted: Fitted, batch: int
) -> tuple[Ints, Ints, tuple[int | None, int | None]]:
    """Where sequences start and end among all rows, and among all keys; and the sides of the window over them."""
    if rest is None:
        return np.arange(batch + 1) * fitted.q_len, np.arange(batch + 1) * fitted.kv_len, (None, None)
    found = varlen.lower(rest, frame)
    lengths = np.diff(found.cu_seqlens).astype(np.int64)
    copies = batch * fitted.kv_len // int(lengths.sum())  # the same documents in every batch
    edges = np.concatenate([[0], np.cumsum(np.tile(lengths, copies))])
    return edges, edges, found.window


def _ends(padding: list[Known], keys: Ints, kv_len: int, batch: int) -> Ints:
    """Where the real keys of each sequence end."""
    lengths = np.full(batch, kv_len)
    for part in padding:
        lengths = np.minimum(lengths, numpy_of(part.value) if isinstance(part.value, Table) else part.value)
    of_batch = keys[:-1] // kv_len
    ends: Ints = np.clip(of_batch * kv_len + lengths[of_batch], keys[:-1], keys[1:])
    return ends


def _call(
    row_starts: Ints, row_ends: Ints, key_starts: Ints, key_ends: Ints, totals: tuple[int, int], window: Sides
) -> tuple[Packed, ...]:
    """One call, or none where no sequence has both rows and keys."""
    some = (row_ends > row_starts) & (key_ends > key_starts)
    if not some.any():
        return ()
    rows, row_edges, longest = _side(row_starts[some], row_ends[some], totals[0])
    keys, key_edges, longest_keys = _side(key_starts[some], key_ends[some], totals[1])
    return (Packed(rows, keys, row_edges, key_edges, longest, longest_keys, window),)


def _side(starts: Ints, ends: Ints, total: int) -> tuple[Ints | None, NDArray[np.int32], int]:
    """The places of sequences (None for all), where each starts among them, and the longest."""
    lengths = ends - starts
    places = None if lengths.sum() == total else spread(starts, lengths)
    return places, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), int(lengths.max())
