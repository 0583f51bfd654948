"""The results of ``attnmask bench``: a table, and in words what to use on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnmask.explain.document import Document
from attnmask.explain.parts import Part, Table, Words

if TYPE_CHECKING:
    from attnmask.bench.torch_beside import Cell

BUSY = 0.5  # programs that wait for a core, per core
NOTABLE = 1.15  # a ratio that a short run on a busy machine can tell from 1


@dataclass(frozen=True, repr=False)
class Bench(Document):
    """What was measured: ``text()``, ``to_json()``, ``html()``, ``save(path)``."""

    cells: tuple[Cell, ...]
    machine: str
    busy: str = ""  # what was running beside

    @property
    def title(self) -> str:
        """On what it was measured."""
        return f"attention under masks on this machine: {self.machine}"

    def describe(self, output: str) -> Sequence[Part]:
        """The table, then a sentence for each mask and length."""
        headers = ("mask", "length", "work", "visible", "attnmask", "best of SDPA", "times as fast")
        rows = tuple(_row(cell) for cell in self.cells)
        warned = [Words(self.busy)] if self.busy else []
        return [Table(headers, rows), *warned, *(Words(line) for line in self.advice())]

    def advice(self) -> list[str]:
        """What to use for each mask and length."""
        places = dict.fromkeys((cell.pattern, cell.length) for cell in self.cells)
        return [_advice(*place, [cell for cell in self.cells if cell[:2] == place]) for place in places]

    def to_json(self) -> str:
        """The medians and the advice as JSON."""
        cells = [{**cell._asdict(), "peer": cell.peer, "ratio": cell.ratio} for cell in self.cells]
        return json.dumps({"machine": self.machine, "busy": self.busy, "cells": cells, "advice": self.advice()})


def busy(load: float, cores: int) -> str:
    """A warning where other programs run: what is made of many short calls then loses more than one long call does.

    >>> busy(0.2, 4)
    ''
    """
    if load < BUSY * cores:
        return ""
    return f"Other programs were running (load {load:.1f} on {cores} cores): measure again when they are not."


def _row(cell: Cell) -> tuple[str, ...]:
    ours = _milliseconds(cell.seconds["attnmask"])
    head = (cell.pattern, f"{cell.length:,}", cell.work, f"{100 * cell.density:.1f} %", ours)
    if cell.peer is None or cell.ratio is None:
        return (*head, "too long for a dense mask", "")
    return (*head, f"{_milliseconds(cell.seconds[cell.peer])} ({cell.peer})", f"{cell.ratio:.2f}")


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


def _advice(pattern: str, length: int, cells: list[Cell]) -> str:
    """One sentence."""
    where = f"{pattern} at {length:,}"
    ratios = {cell.work: cell.ratio for cell in cells if cell.ratio is not None}
    if not ratios:
        return f"{where}: only am.attention could run it."
    told = " and ".join(f"{ratio:.1f} times as fast in {_noun(work)}" for work, ratio in ratios.items())
    peers = " or ".join(dict.fromkeys(str(cell.peer) for cell in cells))
    if min(ratios.values()) >= NOTABLE:
        return f"{where}: use am.attention, {told} (beside {peers})."
    if max(ratios.values()) <= 1 / NOTABLE:
        return f"{where}: use {peers} here; am.attention is {told}."
    if max(ratios.values()) < NOTABLE and min(ratios.values()) > 1 / NOTABLE:
        return f"{where}: no difference to {peers}."
    return f"{where}: it depends on the work: am.attention is {told}, beside {peers}."


def _noun(work: str) -> str:
    return "the forward pass" if work == "forward" else "training"
