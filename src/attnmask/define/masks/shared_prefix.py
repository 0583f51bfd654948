"""One prompt with several answers in one sequence ("share question" of Wang et al. 2024, "FlashMask"; DPO, GRPO)."""

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q
from attnmask.define.parts.forest import ancestor, numbered
from attnmask.define.parts.rows import has_batch, repeated, rows_of, table_of, whole_rows
from attnmask.define.tables import Table
from attnmask.errors import MaskError

FIX = "Write shared_prefix([5, 3, 4]) for a prompt of 5 tokens and answers of 3 and 4"


@kind
def shared_prefix(lengths: Any, *, parents: Any = None) -> Mask:
    """A part sees itself causally, and all of the part that it continues: answers see the prompt, not each other.

    ``(k <= q) & (part[k] == part[q] or an ancestor of it)``

    >>> import attnmask as am
    >>> print(am.show(am.shared_prefix([2, 2, 1]), 5).text())
    shared_prefix([2, 2, 1]): 5 queries x 5 keys, 13 of 25 visible (52.0 %)
        0 1 2 3 4
      0 ■ · · · ·
      1 ■ ■ · · ·
      2 ■ ■ ■ · ·
      3 ■ ■ ■ ■ ·
      4 ■ ■ · · ■

    Args:
        lengths: tokens per part, in the order in which they stand: (parts,), or (batch, parts) of one sum.
        parents: for each part the number of the part that it continues, which stands before it; -1 starts afresh.
            Shaped like ``lengths``, or (parts,). Left out, all parts continue part 0. Turns of a conversation that
            branch are parts that continue answers.
    """
    sizes = whole_rows(lengths, rule="lengths are whole numbers (parts,) or (batch, parts)", fix=FIX)
    rows = rows_of(sizes)
    if sizes.bounds[0] < 0 or len({sum(row) for row in rows}) > 1:
        raise MaskError("lengths are at least 0, of one sum in all rows", sizes.tolist(), FIX)
    numbers = [numbered(row) for row in _parents(parents, sizes)]
    first, last = (
        table_of([repeated(pair[which], row) for pair, row in zip(numbers, rows, strict=True)], has_batch(sizes))
        for which in (0, 1)
    )
    return (k <= q) & ancestor(first, last, k, q)


def _parents(parents: Any, sizes: Table) -> list[list[int]]:
    """The parents of the parts, a row for each sequence."""
    batch, count = len(rows_of(sizes)), sizes.shape[-1]
    if parents is None:
        return [[-1] + [0] * (count - 1)] * batch
    table = whole_rows(parents, rule="parents are whole numbers (parts,) or (batch, parts)", fix=FIX)
    if table.shape not in ((count,), sizes.shape):
        raise MaskError("every part has one length and one parent", f"{sizes.shape} and {table.shape}", FIX)
    for row in rows_of(table):
        for part, parent in enumerate(row):
            if parent >= part:
                raise MaskError("a part continues one that stands before it", f"parent {parent} of part {part}", FIX)
    return rows_of(table) * (1 if has_batch(table) else batch)


EXAMPLES = [
    (shared_prefix([3, 2, 3]), Frame(8)),
    (shared_prefix([2, 2, 1, 2, 1], parents=[-1, 0, 1, -1, 3]), Frame(3, 8, align="end")),
    (shared_prefix([[2, 1, 2], [3, 2, 0]]), Frame(5)),
]
