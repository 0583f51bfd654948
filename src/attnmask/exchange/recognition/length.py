"""How long a description is: what decides between several expressions for one array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.language import Apply, Const, Index, Lookup, Named, Node
from attnmask.define.mask import Mask
from attnmask.define.tables import SparseTable, Table
from attnmask.lower.arrays import numpy_of

NAME, NOT, JOIN, NEST, OPERATION, STEP = 4, 4, 1, 6, 2, 3  # in bits; STEP says that one more number follows
OPEN = 3  # None, for no limit; the one other side that padding may stand on
TABLE = 2 * NAME  # a table beside its entries: no name says what it is


def length(mask: Mask) -> int:
    """The length of an expression in bits: a name costs little, and so does a small number; tables cost their entries.

    >>> import attnmask as am
    >>> length(am.causal()) < length(am.window(3)) < length(am.documents(lengths=[3, 1, 2]))
    True
    >>> length(am.table([[True] * 8] * 8)) > 64
    True
    """
    return _bits(mask.node)


def _bits(node: Node) -> int:
    match node:
        case Named("table", _, Lookup(table)):
            return TABLE + table.size
        case Named("graph", _, Lookup(table)):
            return _table(table)
        case Named(args=args):
            return NAME + sum(_argument(value) for name, value in args if name != "kv_len")  # the array says that
        case Const(value):
            return _number(int(value))
        case Index():
            return OPERATION
        case Lookup(table, at):
            return TABLE + NAME + _table(table) + sum(map(_bits, at))
        case Apply("~", (part,)):
            return NOT + _bits(part)
        case Apply("&" | "|" as op, args):
            mixed = sum(_is_mixed(op, part) for part in args)
            return JOIN * (len(args) - 1) + NEST * mixed + sum(map(_bits, args))
        case Apply(args=args):
            return OPERATION + sum(map(_bits, args))


def _is_mixed(op: str, part: Node) -> bool:
    """A union among the parts of a conjunction, or the other way round; images are a union by their use."""
    if isinstance(part, Named):
        return op == "&" and part.name == "images"
    return isinstance(part, Apply) and part.op in "&|" and part.op != op


def _argument(value: Any) -> int:
    if isinstance(value, Table):
        return _table(value)
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, str):
        return OPEN if value == "left" else NAME
    return OPEN if value is None else _bits(value)


def _number(value: int) -> int:
    return STEP + abs(value).bit_length()


def _table(table: Table) -> int:
    """Entries one by one, or, where that is shorter, as runs of equal ones in each row."""
    if isinstance(table, SparseTable):
        return TABLE + len(table.codes) * 2 * table.shape[0].bit_length()
    if not table.size:
        return STEP
    rows = numpy_of(table).astype(np.int64).reshape(-1, table.shape[-1] if table.shape else 1)
    width = 1 if table.kind == "bool" else STEP + int(np.abs(rows).max()).bit_length()
    return min(table.size * width, sum(_runs(row, width) for row in rows))


def _runs(row: NDArray[np.int64], width: int) -> int:
    """Runs by their lengths; what they hold is said only if it does not count up, as the ids of documents and images do."""
    starts = np.flatnonzero(np.diff(row, prepend=row[0] - 1))
    longest = int(np.diff(starts, append=len(row)).max())
    ids = row[starts]
    counted = ids[ids >= 0]
    counts_up = ids.min() >= -1 and np.array_equal(counted, np.arange(len(counted)))
    return len(starts) * (STEP + longest.bit_length() + width * (not counts_up))
