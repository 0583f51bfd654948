"""Tables with one entry per position (or image, or document): one row for all sequences, or one row per sequence."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from attnmask.define.mask import Term, b, lookup
from attnmask.define.tables import Table
from attnmask.errors import MaskError


def whole_rows(value: Any, *, rule: str, fix: str) -> Table:
    """The table of whole numbers (n,) or (batch, n); anything else is refused."""
    table = Table.of(value)
    if table.kind != "int" or len(table.shape) not in (1, 2) or not table.size:
        raise MaskError(rule, f"{table.kind} of shape {table.shape}", fix)
    return table


def has_batch(table: Table) -> bool:
    """Whether the first of two axes is the batch."""
    return len(table.shape) == 2


def rows_of(table: Table) -> list[list[int]]:
    """The rows of a table (n,) or (batch, n)."""
    rows: list[list[int]] = table.tolist() if has_batch(table) else [table.tolist()]
    return rows


def table_of(rows: Sequence[Sequence[int]], batched: bool) -> Table:
    """Rows as a table (batch, n), or a single row as (n,)."""
    shape = (len(rows), len(rows[0])) if batched else (len(rows[0]),)
    return Table("int", shape, b"".join(array("q", row).tobytes() for row in rows))


def repeated(numbers: Iterable[int], counts: Iterable[int]) -> array[int]:
    """Each number so many times, one after the other; a million in milliseconds.

    >>> repeated([7, 8], [2, 3])
    array('q', [7, 7, 8, 8, 8])
    """
    row = array("q")
    for number, count in zip(numbers, counts, strict=False):
        row += array("q", (number,)) * count
    return row


def entry(table: Table, at: Term) -> Any:
    """``table[at]`` or ``table[b, at]``, whichever axes it has."""
    return lookup(table, b, at) if has_batch(table) else lookup(table, at)
