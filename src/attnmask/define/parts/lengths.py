"""Lengths per sequence as a term: what padding and prefix masks compare key positions with."""

from __future__ import annotations

from typing import Any

from attnmask.define.mask import Term, b, lookup
from attnmask.define.tables import Table
from attnmask.errors import MaskError


def lengths_term(lengths: Any, most: int | None = None) -> Term:
    """``lengths[b]``, or one length for all; checked here against 0, and against ``most``.

    Where ``most`` is None that is kv_len, once a frame is known.
    """
    table = Table.of(lengths, role="length") if most is None else Table.of(lengths)
    if table.kind != "int" or len(table.shape) > 1:
        fix = (
            "Write padding(valid=array) for booleans per token"
            if table.kind == "bool"
            else "Give one number per sequence"
        )
        raise MaskError("lengths are whole numbers (batch,)", f"{table.kind} of shape {table.shape}", fix)
    if table.bounds[0] < 0:
        raise MaskError("lengths are at least 0", table.tolist(), "Clip them: numpy.maximum(lengths, 0)")
    if most is not None and table.bounds[1] > most:
        raise MaskError(
            "lengths are at most the padded length",
            f"{table.tolist()} with kv_len={most}",
            "Check that lengths count tokens, and that kv_len is the length of the padded batch",
        )
    term: Term = lookup(table, b) if table.shape else lookup(table)
    return term
