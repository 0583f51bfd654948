"""Print an expression as the Python text that makes it: ``causal() & padding([3, 2])``.

Text and nodes correspond one to one, except that small tables print as lists and large ones as
``packed(kind, shape, data)``; ``parse`` reads both.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

from attnmask.define.language import Apply, Const, Index, Lookup, Named, Node
from attnmask.define.tables import SparseTable, Table
from attnmask.errors import NotationError

INLINE_ITEMS = 64  # larger tables are packed
SPARSE = "edges"  # the packed kind of sparse tables
SHORT_ITEMS = 8  # in short texts, for people

# How tightly each operator binds in Python; calls and names bind tightest.
BINDING = {"<": 1, "<=": 1, "|": 2, "&": 3, "+": 4, "-": 4, "*": 5, "//": 5, "%": 5, "~": 6}
ATOM = 9


def text_of(node: Node, *, short: bool = False) -> str:
    """The text of an expression; ``short`` abbreviates large tables and no longer reads back."""
    return fold_text(node, short)[0]


def fold_text(node: Node, short: bool) -> tuple[str, int]:
    """Text and binding strength of the outermost operator."""
    match node:
        case Const(value):
            return (str(value), ATOM if isinstance(value, bool) or value >= 0 else 6)
        case Index(name):
            return name, ATOM
        case Lookup(table, at):
            return (
                f"lookup({', '.join([table_text(table, short), *(text_of(part, short=short) for part in at)])})",
                ATOM,
            )
        case Named():
            return _call_text(node, short), ATOM
        case Apply(op, args):
            return _apply_text(op, [fold_text(part, short) for part in args])


def _apply_text(op: str, parts: list[tuple[str, int]]) -> tuple[str, int]:
    if op not in BINDING:
        name = "same" if op == "==" else op
        return f"{name}({', '.join(text for text, _ in parts)})", ATOM
    strength = BINDING[op]
    if op == "~":
        return f"~{_wrapped(parts[0], strength)}", strength
    # Python reads a - b - c from the left, and chains comparisons: the right side needs more strength.
    flat = op in "&|"
    texts = [
        _wrapped(part, strength if place == 0 and op not in ("<", "<=") and not flat else strength + 1)
        for place, part in enumerate(parts)
    ]
    return f" {op} ".join(texts), strength


def _wrapped(part: tuple[str, int], least: int) -> str:
    text, strength = part
    return text if strength >= least else f"({text})"


def _call_text(node: Named, short: bool) -> str:
    arguments = [(f"{key}=" if key else "") + _argument_text(value, short) for key, value in node.args]
    if not node.method:
        return f"{node.name}({', '.join(arguments)})"
    receiver = _wrapped(fold_text(node.args[0][1], short), ATOM)
    return f"{receiver}.{node.name}({', '.join(arguments[1:])})"


def _argument_text(value: Any, short: bool) -> str:
    if isinstance(value, Table):
        return table_text(value, short)
    if isinstance(value, (Const, Index, Lookup, Apply, Named)):
        return text_of(value, short=short)
    return repr(value)


def table_text(table: Table, short: bool) -> str:
    """A table as nested lists if it is small, else packed (or, in short texts, only described)."""
    if table.size <= (SHORT_ITEMS if short else INLINE_ITEMS) and not isinstance(table, SparseTable):
        return str(table.tolist())
    if short:
        return f"<{table.kind} {'x'.join(map(str, table.shape))}>"
    packed = base64.b64encode(zlib.compress(table.data, 9)).decode()
    kind = SPARSE if isinstance(table, SparseTable) else table.kind
    return f"packed({kind!r}, {table.shape}, {packed!r})"


def unpacked(kind: str, shape: tuple[int, ...], text: str) -> Table:
    """The table that ``packed(kind, shape, text)`` stands for."""
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        return SparseTable("bool", shape, data) if kind == SPARSE else Table(kind, shape, data)  # type: ignore[arg-type]
    except (ValueError, zlib.error, TypeError, KeyError) as error:
        raise NotationError(
            "packed(kind, shape, data) holds the bytes of one table",
            f"packed({kind!r}, {shape}, ...): {error}",
            "Copy the whole text that repr(mask) printed",
        ) from None
