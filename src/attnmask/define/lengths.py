"""Lengths per sequence as a term: what padding and prefix masks compare key positions with."""

from __future__ import annotations

from typing import Any

from attnmask.define.mask import Term, b, lookup
from attnmask.define.tables import Table
from attnmask.errors import MaskError


def lengths_term(lengths: Any) -> Term:
    """``lengths[b]``, or one length for all; checked here against 0, and against kv_len when a frame is known."""
    table = Table.of(lengths, role="length")
    if table.kind != "int" or len(table.shape) > 1:
        fix = (
            "Write padding(valid=array) for booleans per token"
            if table.kind == "bool"
            else "Give one number per sequence"
        )
        raise MaskError("lengths are whole numbers (batch,)", f"{table.kind} of shape {table.shape}", fix)
    if table.bounds[0] < 0:
        raise MaskError("lengths are at least 0", table.tolist(), "Clip them: numpy.maximum(lengths, 0)")
    term: Term = lookup(table, b) if table.shape else lookup(table)
    return term
