"""FlexAttention: a ``BlockMask`` made from tiles, without evaluating q_len x kv_len."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Any

import numpy as np

from attnmask.define.bounds.width import too_wide
from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask, Term, k, q
from attnmask.define.masks.documents import documents
from attnmask.define.parts.rows import entry
from attnmask.define.tables import Table
from attnmask.define.tracing.trace import trace
from attnmask.errors import FrameworkError, LoweringError
from attnmask.lower.arrays import numpy_of
from attnmask.lower.conjuncts import split
from attnmask.lower.forms import predicate, tiles
from attnmask.lower.regions import FULL, PARTIAL

NAME = "torch.flex"
POSITION_BITS = 31  # beside the sign


def write(mask: Mask, frame: Frame, *, block_size: int | tuple[int, int] = 128, device: Any = "cpu") -> dict[str, Any]:
    """``block_mask``: the full and partial blocks that ``create_block_mask`` would find, in both directions.

    The ``mask_mod`` inside counts from the first row of the frame, as FlexAttention does, and says contiguous documents
    as bounds of the keys.

    Args:
        mask: the mask.
        frame: where it is seen.
        block_size: queries and keys per block.
        device: where its tensors lie.
    """
    import torch
    from torch.nn.attention.flex_attention import BlockMask

    pair = (block_size, block_size) if isinstance(block_size, int) else (block_size[0], block_size[1])
    kinds = tiles.lower(mask, frame, tile=pair).dense()  # (batch, heads, block rows, block columns)
    tables = []
    for kind in (PARTIAL, FULL):
        present = kinds == kind
        order = np.argsort(~present, axis=-1, kind="stable")  # the present blocks first
        tables += [torch.from_numpy(table.astype(np.int32)).to(device) for table in (present.sum(-1), order)]
    block_mask = BlockMask.from_kv_blocks(
        *tables,
        BLOCK_SIZE=pair,
        mask_mod=_mask_mod(mask, frame, device),
        seq_lengths=(frame.q_len, frame.kv_len),
    )
    return {"block_mask": block_mask}


def _mask_mod(mask: Mask, frame: Frame, device: Any) -> Any:
    wide = too_wide(mask.node, fit(mask, frame).ranges, POSITION_BITS, tables=False)
    if wide is not None:
        raise FrameworkError(
            "FlexAttention's kernels compute positions in 32 bits",
            f"{Term(wide.node)} up to {wide.high} in {mask}",
            "Compare without products of positions, or look the numbers up in a table",
        )
    mask_mod = predicate.lower(_with_bounds(mask), frame, device=device)
    mask_mod.mask = mask.shift(q=fit(mask, frame).q_start)  # type: ignore[attr-defined]  # lets read give it back
    return mask_mod


def _with_bounds(mask: Mask) -> Mask:
    """The mask with contiguous documents as bounds, ``start[q] <= k``, which FlexAttention's own analyser understands."""
    known, rest = split(mask, ("documents", "left", "right"))
    if not any(part.name == "documents" and _contiguous(numpy_of(part.value)) for part in known):
        return mask
    hides_future = any(part.name == "right" and part.value <= 0 for part in known)
    parts = [_bounds(part.value, hides_future) if part.name == "documents" else part.part for part in known]
    return reduce(and_, parts if rest is None else [*parts, rest])


def _contiguous(ids: Any) -> bool:
    """Whether each document of each row stands in one piece."""
    rows = np.atleast_2d(ids)
    pieces = 1 + (np.diff(rows, axis=1) != 0).sum(1)
    return all(len(np.unique(row)) == count for row, count in zip(rows, pieces, strict=True))


def _bounds(ids: Table, hides_future: bool) -> Mask:
    """The document of each query as its first key and, unless the future is hidden anyway, its last."""
    if not _contiguous(numpy_of(ids)):
        return documents(ids)
    rows = np.atleast_2d(numpy_of(ids))  # (batch or 1, kv_len)
    changes = np.diff(rows, axis=1) != 0
    places = np.arange(1, rows.shape[1])
    zeros, ends = np.zeros((len(rows), 1), np.int64), np.full((len(rows), 1), rows.shape[1])
    first = np.maximum.accumulate(np.hstack([zeros, np.where(changes, places, 0)]), axis=1).reshape(ids.shape)
    if hides_future:
        return Mask((entry(Table.of(first), q) <= k).node)
    last = np.hstack([np.where(changes, places, rows.shape[1]), ends])
    end = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1].reshape(ids.shape)
    return Mask(((entry(Table.of(first), q) <= k) & (k < entry(Table.of(end), q))).node)


def read(value: Any, *, q_start: int = 0) -> Mask:
    """The mask of a ``BlockMask``, or of the keyword arguments that hold one, by tracing its ``mask_mod``.

    Blocks that say something else than the ``mask_mod`` are refused: FlexAttention would obey the blocks.
    """
    block_mask = value["block_mask"] if isinstance(value, dict) else value
    if not hasattr(block_mask, "mask_mod"):
        raise FrameworkError(
            "a FlexAttention mask is a BlockMask", type(value).__name__, "Trace a function: am.trace(mask_mod)"
        )
    mask = _mask_of(block_mask.mask_mod)
    q_len, kv_len = block_mask.seq_lengths
    shape = block_mask.kv_num_blocks.shape[:2]
    _check_blocks(block_mask, mask, Frame(q_len, kv_len, q_start=0, batch=shape[0], heads=shape[1]))
    return mask.shift(q=-q_start)


def _mask_of(mask_mod: Any) -> Mask:
    """The mask that a predicate of ours was made from; any other function is traced."""
    mask = getattr(mask_mod, "mask", None)
    return mask if isinstance(mask, Mask) else trace(mask_mod)


def _check_blocks(block_mask: Any, mask: Mask, frame: Frame) -> None:
    try:
        own = write(mask, frame, block_size=block_mask.BLOCK_SIZE)["block_mask"].to_dense()
    except LoweringError as error:
        raise FrameworkError(
            "the blocks of a BlockMask are those of its mask_mod", str(error), "Build it anew"
        ) from error
    if not bool((own == block_mask.to_dense().cpu()).all()):
        raise FrameworkError(
            "the blocks of a BlockMask are those of its mask_mod",
            f"other blocks than those of {mask}",
            "Build it anew for these lengths",
        )
