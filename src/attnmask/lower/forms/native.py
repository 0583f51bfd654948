"""``native``: what a kernel knows by name, and the exact remainder."""

from __future__ import annotations

from typing import NamedTuple

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.errors import LoweringError
from attnmask.lower.conjuncts import READERS, Known, split


class Native(NamedTuple):
    """A mask as the conjunction of named parts and a remainder; None where a part is absent.

    Attributes:
        left: keys visible before the query, ``q - k <= left``.
        right: keys visible after it, ``k - q <= right``; 0 is causal.
        lengths: real keys, one number or a Table (batch,).
        valid: real keys as booleans, a Table (batch, kv_len) or (kv_len,).
        documents: the document of each position, a Table (batch, kv_len) or (kv_len,).
        chunk: positions per chunk.
        remainder: everything else, to be combined with ``&``.
    """

    left: int | None = None
    right: int | None = None
    lengths: int | Table | None = None
    valid: Table | None = None
    documents: Table | None = None
    chunk: int | None = None
    remainder: Mask | None = None

    @property
    def causal(self) -> bool:
        """Whether the future is hidden."""
        return self.right is not None and self.right <= 0


def lower(mask: Mask, frame: Frame | int, *, knows: tuple[str, ...] = tuple(READERS)) -> Native:
    """Split a mask into the parts that a kernel knows and the rest that it must be given as a mask.

    >>> import attnmask as am
    >>> mask = am.causal() & am.window(4) & am.documents([0, 0, 1, 1]) & am.same(am.q % 2, am.k % 2)
    >>> native = am.lower(mask, 4, "native", knows=("left", "right"))
    >>> native.causal, native.left, native.remainder
    (True, 4, documents([0, 0, 1, 1]) & dilated(2))

    Args:
        mask: the mask.
        frame: where it is seen.
        knows: the parts that the kernel knows: left, right, lengths, valid, documents, chunk.
    """
    unknown = sorted(set(knows) - set(READERS))
    if unknown:
        raise LoweringError(f"a kernel knows some of {', '.join(READERS)}", ", ".join(unknown), "Leave them out")
    fit(mask, frame)
    parts, remainder = split(mask, knows)
    values: dict[str, object] = {}
    for known in parts:
        if known.name in values and not _combines(known):
            remainder = known.part if remainder is None else remainder & known.part  # one of each is all kernels take
        else:
            values[known.name] = (
                min(values.get(known.name, known.value), known.value) if _combines(known) else known.value
            )
    return Native(**values, remainder=remainder)  # type: ignore[arg-type]


def _combines(known: Known) -> bool:
    """Two limits of a window are one: the smaller."""
    return known.name in ("left", "right")
