"""Any mask at all, given as a boolean array."""

from collections.abc import Iterator
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, b, h, k, lookup, q
from attnmask.define.parts.found import B, Found, H, K, Q
from attnmask.define.tables import SparseTable, Table
from attnmask.errors import MaskError


@kind
def table(array: Any) -> Mask:
    """A query sees the keys at which a boolean array is True: ``array[b, h, q, k]``.

    >>> import attnmask as am
    >>> print(am.show(am.table([[True, False], [True, True]]), 2).text())
    table([[True, False], [True, True]]): 2 queries x 2 keys, 3 of 4 visible (75.0 %)
        0 1
      0 ■ ·
      1 ■ ■

    Args:
        array: booleans (q_len, kv_len), or (batch, heads, q_len, kv_len) in which a batch or heads axis of
            size 1 stands for all. Row 0 is position 0. A mask of a framework is read with ``am.read``.
    """
    cells = Table.of(array)
    if cells.kind != "bool":
        raise MaskError(
            "a mask array is boolean, True = visible",
            f"{cells.kind} of shape {cells.shape}",
            "Write array.astype(bool), after checking that 1 means visible; am.diagnose(array) tells",
        )
    mask: Mask
    if len(cells.shape) == 2:
        mask = lookup(cells, q, k)
        return mask
    if len(cells.shape) != 4:
        raise MaskError(
            "a mask array is (q_len, kv_len) or (batch, heads, q_len, kv_len)",
            f"shape {cells.shape}",
            "Name all axes: array[:, None] if the first axis is the batch, array[None] if it is the heads; "
            "padding(valid=array) for (batch, kv_len)",
        )
    outer = (0 if size == 1 else index for size, index in zip(cells.shape[:2], (b, h), strict=True))
    mask = lookup(cells, *outer, q, k)
    return mask


def guesses(found: Found) -> Iterator[Mask]:
    """The tables that are looked up at query and key."""
    for at in ((Q, K), (B, H, Q, K)):
        yield from (table(cells) for cells in found.tables(*at) if not isinstance(cells, SparseTable))


EXAMPLES = [
    (table([[True, False, True], [False, False, False]]), Frame(2, 3, align="start")),
    (table([[[[True, True], [False, True]]], [[[True, False], [True, True]]]]), Frame(2)),
]
