"""Global tokens: a few positions that see all and are seen by all (Beltagy et al. 2020, "Longformer", section 3.1)."""

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, Term, k, maximum, minimum, q
from attnmask.define.parts.rows import entry, rows_of, whole_rows
from attnmask.define.tables import Table
from attnmask.errors import MaskError


@kind
def landmarks(positions: Any) -> Mask:
    """A landmark's query sees every key, and a landmark's key is seen by every query: ``is_landmark[q] | is_landmark[k]``.

    >>> import attnmask as am
    >>> print(am.show(am.landmarks([1]) | am.window(1, 1), 5).text())
    landmarks([1]) | window(1, 1): 5 queries x 5 keys, 17 of 25 visible (68.0 %)
        0 1 2 3 4
      0 ■ ■ · · ·
      1 ■ ■ ■ ■ ■
      2 · ■ ■ ■ ·
      3 · ■ ■ ■ ■
      4 · ■ · ■ ■

    Landmarks look into the future as well; in a decoder, cut that off with ``causal() & (...)``.

    Args:
        positions: the landmarks, at least 0: (count,), or (batch, count) with other landmarks for each sequence
            (fill a short row up by repeating one of its own).
    """
    table = whole_rows(
        positions,
        rule="landmarks are positions (count,) or (batch, count)",
        fix="Write landmarks([0, 64]); booleans turn into positions by numpy.flatnonzero(array)",
    )
    if table.bounds[0] < 0:
        raise MaskError("landmarks stand at positions of at least 0", table.tolist(), "Count positions from 0")
    flags = _flags(table)
    mask: Mask = entry(flags, _place(q, flags)) | entry(flags, _place(k, flags))
    return mask


def _flags(table: Table) -> Table:
    """Whether a landmark stands at position -1, 0, .. and one past the last landmark: no at both ends."""
    size = table.bounds[1] + 3
    rows = [bytearray(size) for _ in rows_of(table)]
    for flags, places in zip(rows, rows_of(table), strict=True):
        for place in places:
            flags[place + 1] = True
    return Table("bool", (*table.shape[:-1], size), b"".join(rows))


def _place(position: Term, flags: Table) -> Term:
    """Where the table tells about a position: all others are at its ends."""
    return minimum(maximum(position + 1, 0), flags.shape[-1] - 1)


EXAMPLES = [
    (landmarks([0, 5]) | (abs(q - k) <= 1), Frame(8)),
    (landmarks([2]) & (k <= q), Frame(4, 9, q_start=3)),
    (landmarks([[0, 0], [1, 3]]), Frame(6)),
]
