"""What attention costs on a kind of processor: figures that decide between engines, and between the ways of torch's.

They are data: ``machines.json`` has what ``benchmarks/costs.py`` measured, one entry for each kind of processor, and
``attnmask bench --save`` writes an entry for the user's own machine. Nothing is ever timed in a call of attention, so
that a call gives the same numbers in every run.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from attnmask.errors import InputError
from attnmask.run.machine import Machine, here
from attnmask.run.request import Request

TABLE = files("attnmask.run") / "machines.json"


class Costs(NamedTuple):
    """Costs for one number format, forward alone or with backward, counted in pairs of a query and a key of one head.

    One is what SDPA takes for a pair without a mask, in the same number format and the same work; an entry of ``blocks``
    is for blocks of so many rows as ``SIZES`` of torch's plan has in its place.

    Attributes:
        causal: a pair under SDPA's own causal flag, of those in blocks of keys that it does not skip.
        dense: a pair under a mask of all pairs.
        short: one call of SDPA, beside its pairs.
        few: a pair in a call of few rows, which reads keys rather than computes.
        key: reading a key and its value there, for all rows of a head of keys.
        blocks: a pair of a block of rows, by the size of the block.
        call: a block, over all heads, beside its pairs.
        copied: copying a key and its value.
        edge: a visible pair that is computed alone.
        edges: a row of the sparse products, beside its pairs.
        kernel: a pair in attnmask's kernel.
        kernel_block: a block of rows there, of one head, beside its pairs.
        kernel_run: a run of keys that the same rows of a block see there.
        kernel_call: one call of it.
        group: a pair there in a group of few rows, whose lanes are the numbers of a key.
        group_key: reading a key and its value for all rows of a group, after the key before it.
        group_run: the same of a key that stands anywhere.
        group_list: the list of a group.
        flash: a pair in a tile of flash_attn that is not empty.
        flex: the same of FlexAttention.
    """

    causal: float = 1.0
    dense: float = 1.2
    short: float = 50_000.0
    few: float = 1.6
    key: float = 10.0
    blocks: tuple[float, ...] = (1.2, 1.1, 1.1, 1.05)
    call: float = 60_000.0
    copied: float = 24.0
    edge: float = 8.0
    edges: float = 140.0
    kernel: float = 0.6
    kernel_block: float = 2_000.0
    kernel_run: float = 10.0
    kernel_call: float = 50_000.0
    group: float = 1.2
    group_key: float = 6.0
    group_run: float = 10.0
    group_list: float = 40.0
    flash: float = 1.0
    flex: float = 4.0


class Entry(NamedTuple):
    """The costs of a kind of processor, by number format and work, as ``"float32 forward"``; and who measured them."""

    machine: Machine
    costs: dict[str, Costs]
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values, of which three digits matter."""
        costs = {
            name: {key: _rounded(value) for key, value in one._asdict().items()} for name, one in self.costs.items()
        }
        return {"source": self.source, "machine": self.machine._asdict(), "costs": costs}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Entry:
        """What ``to_json`` wrote."""
        costs = {name: Costs(**{**one, "blocks": tuple(one["blocks"])}) for name, one in plain["costs"].items()}
        return cls(Machine(**plain["machine"]), costs, plain["source"])


# Not measured: PyTorch reports FlexAttention at 0.85 to 0.9 of FlashAttention 2 (pytorch.org/blog/flexattention), and
# SDPA computes every block with another, slower kernel where it is given a mask. FlexAttention is compiled for seconds
# for each new kind of mask, so it is taken where no more than half of the blocks are left.
GPU = Costs(causal=1.0, dense=2.0, short=0.0, flash=1.0, flex=4.0)


def _rounded(value: Any) -> Any:
    return [_rounded(part) for part in value] if isinstance(value, tuple) else float(f"{value:.3g}")


def costs_of(request: Request) -> Costs:
    """The costs that are about a request."""
    if request.setting.device != "cpu":
        return GPU
    dtype = request.setting.dtype if request.setting.dtype in ("bfloat16", "float16") else "float32"
    return entry_of(request.processor).costs[f"{dtype} {'training' if request.setting.grad else 'forward'}"]


def decided_by(machine: Machine) -> str:
    """Whose costs decide on a machine, in words."""
    entry = entry_of(machine)
    if entry is _own():
        return f"your own costs, {profile()}"
    if entry.machine.kind == machine.kind:
        return f"costs measured on {entry.source}"
    return f"costs measured on {entry.source}, the nearest to {machine.name or 'this processor'} that is known"


@functools.lru_cache(maxsize=64)
def entry_of(machine: Machine) -> Entry:
    """The user's own entry, if it is about this kind of machine; else the nearest of the table."""
    own = _own()
    if own is not None and own.machine.kind == machine.kind == here().kind:
        return own
    return min(table(), key=lambda entry: _distance(entry.machine, machine))


def _distance(one: Machine, other: Machine) -> int:
    """Kinds of processors differ most by their vectors, then by what else multiplies, who made them, and when."""
    differs = [a != b for a, b in zip(one.kind, other.kind, strict=True)]
    return sum(weight for weight, different in zip((8, 4, 2, 1), differs, strict=True) if different)


@functools.cache
def table() -> tuple[Entry, ...]:
    """The entries that were committed."""
    return tuple(map(Entry.of, json.loads(TABLE.read_text(encoding="utf-8"))))


def profile() -> Path:
    """Where the user's own entry lies: ``ATTNMASK_PROFILE``, or a file in the folder for configuration."""
    told = os.environ.get("ATTNMASK_PROFILE")
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(told) if told else Path(folder) / "attnmask" / "machine.json"


def keep(entry: Entry) -> Path:
    """Write the user's own entry, whole or not at all; processes that start later use it."""
    path = profile()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False, encoding="utf-8") as file:
        json.dump(entry.to_json(), file, indent=1)
    Path(file.name).replace(path)
    return path


@functools.cache
def _own() -> Entry | None:
    path = profile()
    try:
        return Entry.of(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "the profile of this machine is what `attnmask bench --save` wrote",
            f"{path}: {error}",
            "Write it again by `attnmask bench --save`, or remove it",
        ) from error
