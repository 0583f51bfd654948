"""A mask seen from other coordinates: index variables replaced by themselves plus a step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

from attnmask.define.language import Apply, Const, Index, Lookup, Named, Node, Rebuild, fold, unnamed, variables
from attnmask.define.tables import Table
from attnmask.errors import MaskError

Step: TypeAlias = int | Table  # a number, or one number for each sequence


def step_of(value: Any) -> Step:
    """A step in positions: a whole number, or whole numbers (batch,)."""
    if type(value) is int:
        return value
    table = Table.of(value)
    if table.kind == "int" and len(table.shape) <= 1:
        return table if table.shape else table[()]
    raise MaskError(
        "a mask is shifted by a whole number of positions, or by one for each sequence (batch,)",
        f"{table.kind} of shape {table.shape}",
        "Write mask.shift(q=3), or mask.shift(q=[3, 1]) for a batch of two",
    )


def shifted(node: Node, by: dict[str, Step]) -> Node:
    """Replace each variable of ``by`` by itself plus its step, part by part so that the parts keep their names."""
    if isinstance(node, Apply) and node.op in ("&", "|", "~"):
        return Apply(node.op, tuple(shifted(part, by) for part in node.args))
    used = {name: step for name, step in by.items() if step != 0 and name in variables(node)}
    if not used:
        return node
    return Named("shift", ((None, node), *used.items()), fold(unnamed(node), _Shift(used)), method=True)


class _Shift(Rebuild):
    def __init__(self, by: dict[str, Step]) -> None:
        self.by = by

    def index(self, name: str) -> Node:
        step = self.by.get(name)
        if step is None:
            return Index(name)
        amount = Lookup(step, (Index("b"),)) if isinstance(step, Table) else Const(step)
        return Apply("+", (Index(name), amount))

    def lookup(self, table: Table, at: tuple[Node, ...]) -> Node:
        return Lookup(replace(table, role="value"), at)  # lengths in other coordinates are no longer bounded by kv_len
