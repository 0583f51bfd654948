"""``varlen``: packed documents as cumulative lengths, for kernels without a batch axis."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.errors import LoweringError
from attnmask.lower.arrays import numpy_of
from attnmask.lower.conjuncts import split

Ints = NDArray[np.int64]
NAMES = ("left", "right", "lengths", "documents", "chunk")


class Varlen(NamedTuple):
    """Sequences one after the other.

    Attributes:
        cu_seqlens: int32, where each sequence starts among the kept tokens, and where the last one ends.
        max_seqlen: the longest sequence.
        window: (left, right) positions visible around a query; None means no limit; right 0 is causal.
        kept: places of the kept tokens in the flattened (batch * kv_len), or None where all are kept.
    """

    cu_seqlens: NDArray[np.int32]
    max_seqlen: int
    window: tuple[int | None, int | None]
    kept: Ints | None

    @property
    def causal(self) -> bool:
        """Whether the future is hidden."""
        return self.window[1] is not None and self.window[1] <= 0


def lower(mask: Mask, frame: Frame | int) -> Varlen:
    """Cumulative lengths of the documents, or of the sequences of a right-padded batch, and a window over each.

    The rows of padding have no place in this form: they are left out, in ``kept``.

    >>> import attnmask as am
    >>> am.lower(am.causal() & am.documents([1, 1, 1, 1, 2, 2, 2, 3, 3, 3]), 10, "varlen").cu_seqlens.tolist()
    [0, 4, 7, 10]
    >>> am.lower(am.padding([3, 1]), 4, "varlen")[:2]
    (array([0, 3, 4], dtype=int32), 3)

    Raises:
        LoweringError: the mask has a part that is no document, right padding, chunk or window; the part is named.
    """
    fitted = fit(mask, frame)
    if fitted.q_len != fitted.kv_len or fitted.q_start != 0 or fitted.heads != 1:
        raise LoweringError(
            "varlen is self-attention of whole sequences", repr(Frame.of(frame)), "Use tiles or intervals"
        )
    known, rest = split(mask, NAMES)
    if rest is not None:
        raise LoweringError(
            "varlen knows documents, right padding, chunks and windows", f"{rest} in {mask}", "Use tiles"
        )
    sides: dict[str, int] = {}
    ids = np.repeat(np.arange(fitted.batch)[:, None], fitted.kv_len, axis=1)  # (batch, kv_len)
    kept = np.ones(ids.shape, bool)
    for part in known:
        if part.name in ("left", "right"):
            sides[part.name] = min(sides.get(part.name, part.value), part.value)
        elif part.name == "lengths":
            kept &= np.arange(fitted.kv_len) < _column(part.value)
        else:
            ids = _finer(ids, _ids(part.value, fitted, mask))
    return _packed(ids.ravel(), kept.ravel(), (sides.get("left"), sides.get("right")))


def _column(lengths: int | Table) -> Ints:
    """Lengths as (batch, 1)."""
    return np.atleast_1d(numpy_of(lengths) if isinstance(lengths, Table) else np.int64(lengths))[:, None]


def _ids(value: int | Table, frame: Fitted, mask: Mask) -> Ints:
    """Documents or chunks as runs of equal numbers, (batch or 1, kv_len)."""
    if isinstance(value, int):
        return (np.arange(frame.kv_len) // value)[None]
    ids = np.atleast_2d(numpy_of(value))[:, : frame.kv_len]
    runs = 1 + (np.diff(ids, axis=1) != 0).sum(1)
    if any(len(np.unique(row)) != count for row, count in zip(ids, runs, strict=True)):
        raise LoweringError("the documents of varlen are contiguous", str(mask), "Sort the tokens by document first")
    return ids


def _finer(one: Ints, other: Ints) -> Ints:
    """Numbers that are equal only where both are."""
    changes = np.zeros(np.broadcast_shapes(one.shape, other.shape), np.int64)
    changes[:, 1:] = (np.diff(one, axis=1) != 0) | (np.diff(other, axis=1) != 0)
    changes[:, 0] = 1  # a row of the batch begins
    return np.cumsum(changes.ravel()).reshape(changes.shape)


def _packed(ids: Ints, kept: NDArray[np.bool_], window: tuple[int | None, int | None]) -> Varlen:
    ids = ids[kept]
    starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1))
    ends = np.append(starts[1:], len(ids))
    cu_seqlens = np.append(starts, len(ids)).astype(np.int32)
    places = None if kept.all() else np.flatnonzero(kept)
    return Varlen(cu_seqlens, int((ends - starts).max(initial=0)), window, places)
