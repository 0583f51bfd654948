"""Padding masks: the keys of a batch that hold real tokens, from lengths or from a boolean array."""

from collections.abc import Iterator
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, b, k, lookup
from attnmask.define.parts.found import B, Found, K
from attnmask.define.parts.lengths import lengths_term
from attnmask.define.tables import Table
from attnmask.errors import MaskError


@kind
def padding(lengths: Any = None, *, valid: Any = None, side: str = "right", kv_len: int | None = None) -> Mask:
    """Every query sees the keys that hold real tokens: ``k < lengths[b]``.

    >>> import attnmask as am
    >>> print(am.show(am.padding([3, 2]), am.Frame(1, 4)).text())
    padding([3, 2]): 1 queries x 4 keys, 5 of 8 visible (62.5 %)
    batch 0
        0 1 2 3
      0 ■ ■ ■ ·
    batch 1
        0 1 2 3
      0 ■ ■ · ·

    Args:
        lengths: real tokens per sequence (batch,), or one number for an unbatched mask. At least 0; at most the
            kv_len of the frame.
        valid: instead of lengths, booleans (batch, kv_len) or (kv_len,), True = a real token, on any side.
        side: where the padding stands, ``"right"`` or ``"left"``. The left needs ``kv_len``.
        kv_len: the padded length, for ``side="left"`` only; a frame may have fewer keys, or more.
    """
    if (lengths is None) == (valid is None):
        raise MaskError("padding is given by lengths or by valid", "both or neither", "Write padding([3, 2])")
    if valid is not None:
        return _from_valid(Table.of(valid), side, kv_len)
    if side == "right" and kv_len is None:
        return k < lengths_term(lengths)
    if side == "left" and kv_len is not None:  # a frame may be shorter, as while a prompt is filled in by chunks
        return k >= kv_len - lengths_term(lengths, most=kv_len)
    raise MaskError(
        "side is 'right', or 'left' with kv_len",
        f"side={side!r}, kv_len={kv_len}",
        "Write padding(lengths) or padding(lengths, side='left', kv_len=n)",
    )


def _from_valid(table: Table, side: str, kv_len: int | None) -> Mask:
    if (side, kv_len) != ("right", None):
        raise MaskError("valid says the side itself", f"side={side!r}, kv_len={kv_len}", "Write padding(valid=array)")
    if table.kind != "bool" or len(table.shape) not in (1, 2):
        raise MaskError(
            "valid is boolean (batch, kv_len) or (kv_len,), True = a real token",
            f"{table.kind} of shape {table.shape}",
            "Write padding(valid=attention_mask.astype(bool)); where 1 means padding, invert it first",
        )
    mask: Mask = lookup(table, b, k) if len(table.shape) == 2 else lookup(table, k)
    return mask


def guesses(found: Found) -> Iterator[Mask]:
    """Keys before a length per sequence, keys from one on, and keys that a table holds."""
    for lengths in found.tables(B):
        yield padding(lengths)
        yield from (padding(lengths, side="left", kv_len=end) for end in found.at_least(k + lookup(lengths, b)))
    for valid in (*found.tables(B, K), *found.tables(K)):
        if valid.kind == "bool":
            yield padding(valid=valid)


EXAMPLES = [
    (padding([5, 3, 8]), Frame(8)),
    (padding([5, 0]), Frame(3, 6)),
    (padding(4), Frame(6)),
    (padding([2, 6], side="left", kv_len=6), Frame(6)),
    (padding(valid=[[True, False, True], [False, True, True]]), Frame(4, 3)),
]
