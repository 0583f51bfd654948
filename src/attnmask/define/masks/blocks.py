"""Block-sparse attention: any pattern of blocks (Gray et al. 2017, "GPU kernels for block-sparse weights")."""

from collections.abc import Iterator
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.language import Apply, Const, Index, Lookup
from attnmask.define.mask import Mask, b, h, k, lookup, q
from attnmask.define.parts.coordinates import per_axis
from attnmask.define.parts.found import B, Found, H
from attnmask.define.tables import Table
from attnmask.errors import MaskError


@kind
def blocks(table: Any, size: Any) -> Mask:
    """A query sees the keys of the blocks that its own block may see: ``table[b, h, q // size, k // size]``.

    >>> import attnmask as am
    >>> print(am.show(am.blocks([[True, False], [True, True]], 2), 4).text())
    blocks([[True, False], [True, True]], 2): 4 queries x 4 keys, 12 of 16 visible (75.0 %)
        0 1 2 3
      0 ■ ■ · ·
      1 ■ ■ · ·
      2 ■ ■ ■ ■
      3 ■ ■ ■ ■

    Args:
        table: booleans per block (q_blocks, kv_blocks), or (batch, heads, q_blocks, kv_blocks) in which a batch or
            heads axis of size 1 stands for all. Block 0 begins at position 0.
        size: positions per block, at least 1: one number, or [query, key].
    """
    cells = Table.of(table)
    if cells.kind != "bool" or len(cells.shape) not in (2, 4):
        raise MaskError(
            "a block pattern is boolean (q_blocks, kv_blocks) or (batch, heads, q_blocks, kv_blocks)",
            f"{cells.kind} of shape {cells.shape}",
            "Name all axes: table[:, None] if the first one is the batch, table[None] if it is the heads; "
            "write table.astype(bool) where 1 means visible",
        )
    q_size, k_size = per_axis("size", size, cells.shape[-2:])
    outer = (0 if length == 1 else index for length, index in zip(cells.shape[:-2], (b, h), strict=False))
    mask: Mask = lookup(cells, *outer, q // q_size, k // k_size)
    return mask


def guesses(found: Found) -> Iterator[Mask]:
    """The tables that are looked up at a quotient of the query and one of the key."""
    for node in found.nodes:
        match node:
            case Lookup(
                cells, (*outer, Apply("//", (Index("q"), Const(wide))), Apply("//", (Index("k"), Const(high))))
            ):
                if cells.kind == "bool" and tuple(outer) in ((), (B, H)):
                    yield blocks(cells, wide if wide == high else [wide, high])


EXAMPLES = [
    (blocks([[True, False, True], [False, True, False], [True, True, True]], 3), Frame(9)),
    (blocks([[True, False], [True, True]], [2, 4]), Frame(3, 8, q_start=1)),
    (blocks([[[[True, False], [True, True]]], [[[False, True], [False, False]]]], 3), Frame(5)),
]
