"""A mask seen from other coordinates: index variables replaced by themselves plus a step."""

from __future__ import annotations

from dataclasses import replace

from attnmask.define.language import Apply, Const, Index, Lookup, Named, Node, Rebuild, fold, unnamed, variables
from attnmask.define.tables import Table


def shifted(node: Node, by: dict[str, int]) -> Node:
    """Replace each variable of ``by`` by itself plus its step, part by part so that the parts keep their names."""
    if isinstance(node, Apply) and node.op in ("&", "|", "~"):
        return Apply(node.op, tuple(shifted(part, by) for part in node.args))
    used = {name: step for name, step in by.items() if step and name in variables(node)}
    if not used:
        return node
    return Named("shift", ((None, node), *used.items()), fold(unnamed(node), _Shift(used)), method=True)


class _Shift(Rebuild):
    def __init__(self, by: dict[str, int]) -> None:
        self.by = by

    def index(self, name: str) -> Node:
        step = self.by.get(name, 0)
        return Apply("+", (Index(name), Const(step))) if step else Index(name)

    def lookup(self, table: Table, at: tuple[Node, ...]) -> Node:
        return Lookup(replace(table, role="value"), at)  # lengths in other coordinates are no longer bounded by kv_len
