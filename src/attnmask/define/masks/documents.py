"""Packed documents: no token sees another document of its row (Krell et al. 2021, "Efficient sequence packing")."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, b, k, lookup, q, same
from attnmask.define.parts.found import Found, compared_rows
from attnmask.define.parts.rows import has_batch, repeated, rows_of, table_of
from attnmask.define.tables import Table
from attnmask.errors import MaskError


@kind
def documents(ids: Any = None, *, lengths: Any = None) -> Mask:
    """A query sees the keys of its own document: ``ids[b, q] == ids[b, k]``.

    >>> import attnmask as am
    >>> print(am.show(am.documents(lengths=[2, 1]), 3).text())
    documents(lengths=[2, 1]): 3 queries x 3 keys, 5 of 9 visible (55.6 %)
        0 1 2
      0 ■ ■ ·
      1 ■ ■ ·
      2 · · ■

    Args:
        ids: the document of each position, whole numbers (kv_len,) or (batch, kv_len). Equal numbers are one
            document, wherever they stand.
        lengths: instead of ids, tokens per document: one list, or one list per row of the batch, all of one sum.
    """
    if (ids is None) == (lengths is None):
        raise MaskError("documents are given by ids or by lengths", "both or neither", "Write documents([0, 0, 1])")
    table = Table.of(ids) if lengths is None else _ids(lengths)
    if table.kind != "int" or len(table.shape) not in (1, 2):
        raise MaskError(
            "ids are whole numbers (kv_len,) or (batch, kv_len)",
            f"{table.kind} of shape {table.shape}",
            "Give the document of each position, for example [0, 0, 0, 1, 1]",
        )
    if len(table.shape) == 1:
        return same(lookup(table, q), lookup(table, k))
    return same(lookup(table, b, q), lookup(table, b, k))


def _ids(lengths: Any) -> Table:
    nested = Table.of(lengths)
    if nested.kind != "int" or len(nested.shape) not in (1, 2) or nested.bounds[0] < 0:
        raise MaskError(
            "document lengths are whole numbers of at least 0",
            f"{nested.kind} of shape {nested.shape}, smallest {nested.bounds[0]}",
            "Write documents(lengths=[5, 3]), or [[5, 3], [2, 6]] for a batch of two rows",
        )
    rows = rows_of(nested)
    if len({sum(row) for row in rows}) > 1:
        raise MaskError(
            "the document lengths of all rows have one sum",
            f"sums {[sum(row) for row in rows]}",
            "Add the padding at the end of a row as a document of its own",
        )
    return table_of([repeated(count(), row) for row in rows], has_batch(nested))


def guesses(found: Found) -> Iterator[Mask]:
    """The tables whose entries at query and key are compared."""
    yield from map(documents, compared_rows(found))


EXAMPLES = [
    (documents([0, 0, 0, 1, 1, 2, 2, 2]), Frame(8)),
    (documents(lengths=[3, 5]), Frame(2, 8, align="end")),
    (documents([[0, 0, 1, 1], [0, 1, 1, 0]]), Frame(4)),
    (documents(lengths=[[3, 3], [1, 5]]), Frame(6)),
]
