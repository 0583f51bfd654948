"""Measures what attention costs on this machine: the entry of ``run/machines.json`` that is about its processor."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from attnmask.bench.torch_beside import interleaved
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.define.masks.graph import graph
from attnmask.define.masks.window import window
from attnmask.run.costs import Costs, Entry
from attnmask.run.engines import Engine
from attnmask.run.engines.cpu import engine as kernel
from attnmask.run.engines.cpu import torch_operations
from attnmask.run.engines.cpu.blocks import blocks_of
from attnmask.run.engines.torch import blocks, edges
from attnmask.run.engines.torch import engine as with_torch
from attnmask.run.engines.torch.plan import SIZES, Plan, in_blocks_of, plan
from attnmask.run.engines.torch.ways import causal_pairs
from attnmask.run.machine import here

HEADS, DIM, LENGTH = 8, 64, 2048
SCATTERED = 16  # keys of each row, from anywhere
NARROW, WIDE = 32, 512  # windows, to tell what a block costs from what a pair costs
NODES, DEGREES = 8192, (4, 16)  # of graphs, whose keys the second cache does not hold, likewise
CACHE, ROWS = 16_384, (1, 16)  # keys of a cache, more than the second cache holds, and query rows, likewise
SHORT, CALLS = 64, 50  # rows and keys of a short call, of which so many are timed together
DTYPES = ("float32", "bfloat16", "float16")
WORKS = ("training", "forward")  # in this order: what training allocates is there for both

Way = Callable[..., Any]  # of q, k and v


def entry(told: Callable[[str], None] = lambda name: None) -> Entry:
    """The costs of this machine, measured in under a minute."""
    costs = {}
    for dtype in DTYPES:
        for work in WORKS:
            told(f"{dtype} {work}")
            costs[f"{dtype} {work}"] = _costs(_measured(getattr(torch, dtype), work == "training"))
    machine = here()
    source = f"{machine.name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.system()}"
    return Entry(machine, costs, source)


def _costs(seconds: dict[str, float]) -> Costs:
    """From the seconds of each way, what its parts cost in pairs of SDPA without a mask."""
    all_pairs = HEADS * LENGTH**2
    took = {name: value / seconds["full"] * all_pairs for name, value in seconds.items()}
    known = {
        "causal": took["causal"] / HEADS / causal_pairs(LENGTH),
        "dense": took["dense"] / all_pairs,
        "short": max(took["short"] / CALLS - took["dense"] / all_pairs * HEADS * SHORT**2, 0.0),
        "copied": took["copied"] / (HEADS * LENGTH),
    }
    few, key = _line([(float(rows), took[f"few {rows}"] / HEADS / CACHE) for rows in ROWS])
    edge, beside = _line([(float(degree), took[f"degree {degree}"] / HEADS / NODES) for degree in DEGREES])
    pairs = {(size, width): size * (size + width - 1) * HEADS for size in SIZES for width in (NARROW, WIDE)}
    of_block = {key: took[f"blocks {key}"] / (LENGTH / key[0]) for key in pairs if f"blocks {key}" in took}
    _, call = _line([(pairs[key], of_block[key]) for key in ((SIZES[0], NARROW), (SIZES[0], WIDE))])
    rates = tuple((of_block[size, WIDE] - call) / pairs[size, WIDE] for size in SIZES)
    return Costs(**known, few=few, key=key, edge=edge, edges=beside, call=call, blocks=rates, **_of_kernel(took))


def _of_kernel(took: dict[str, float]) -> dict[str, float]:
    if here().variant is None:
        return {}
    lists = {name: _list(mask, LENGTH) for name, mask in _of_lists().items()}
    of_block = {name: took[f"kernel {name}"] / HEADS / one.blocks for name, one in lists.items()}
    pair, _ = _line([(lists[name].pairs, of_block[name]) for name in ("full", "window")])
    run, block = _line([(lists[name].runs, of_block[name] - pair * lists[name].pairs) for name in ("window", "graph")])
    short = _list(causal(), SHORT)
    beside = HEADS * short.blocks * (pair * short.pairs + run * short.runs + block)
    call = max(took["kernel short"] / CALLS - beside, 0.0)
    return {"kernel": pair, "kernel_block": block, "kernel_run": run, "kernel_call": call, **_of_groups(took, call)}


def _of_groups(took: dict[str, float], call: float) -> dict[str, float]:
    """Of lists of one key after another, for few rows and for many; of lists of few keys that stand anywhere."""
    of_list = [(float(degree), took[f"groups {degree}"] / HEADS / NODES) for degree in DEGREES]
    scattered, of_each = _line(of_list)
    if "decode 1" not in took:  # gradients are made pair by pair
        return {"group": scattered, "group_key": 0.0, "group_run": 0.0, "group_list": of_each}
    lengths = [(float(rows), (took[f"decode {rows}"] - call) / HEADS / CACHE) for rows in ROWS]
    pair, key = _line(lengths)
    return {"group": pair, "group_key": key, "group_run": max(scattered - pair, 0.0), "group_list": of_each}


class _List(NamedTuple):
    """Blocks of one head, and in the mean of them pairs that are computed and runs of keys."""

    blocks: float
    pairs: float
    runs: float


def _list(mask: Mask, length: int) -> _List:
    found = blocks_of(mask, Frame(length, q_start=0), here().rows)
    assert found is not None
    count = length / here().rows
    return _List(count, found.computed / count, len(found.start) / count)


def _of_lists() -> dict[str, Mask]:
    """Masks whose blocks have lists of one run, of as many runs as rows, and of very many."""
    return {"full": everything(), "window": window(NARROW - 1) & causal(), "graph": _random_graph(LENGTH, SCATTERED)}


def _line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Slope and height at 0 of a line through two points; neither is less than 0."""
    (x, y), (other_x, other_y) = points
    slope = max((other_y - y) / (other_x - x), 0.0)
    return slope, max(y - slope * x, 0.0)


def _measured(dtype: torch.dtype, training: bool) -> dict[str, float]:
    """The median seconds of each way."""
    cases = {}
    for name, length, way in _ways(dtype, training):
        leaves = [torch.randn(1, HEADS, length, DIM, dtype=dtype).requires_grad_(training) for _ in range(3)]
        cases[name] = _case(way, leaves)
    return interleaved(cases)


def _case(way: Way, leaves: list[Any]) -> Callable[[], None]:
    """Short calls are many in a row, as a model makes them."""
    training, times = leaves[0].requires_grad, CALLS if leaves[0].shape[2] == SHORT else 1
    grad = torch.randn_like(leaves[0])

    def case() -> None:
        for _ in range(times):
            if training:
                output = way(*leaves)
                torch.autograd.grad(output, leaves, grad[:, :, : output.shape[2]])
            else:
                with torch.no_grad():
                    way(*leaves)

    return case


def _ways(dtype: torch.dtype, training: bool) -> Iterator[tuple[str, int, Way]]:
    """Name, length and function of what is measured."""
    frame, scale = Frame(LENGTH, q_start=0), DIM**-0.5
    bias = torch.zeros(1, 1, LENGTH, LENGTH, dtype=dtype)
    parts = torch.from_numpy(np.random.default_rng(0).permutation(LENGTH)).chunk(LENGTH // SIZES[-1])
    yield "full", LENGTH, sdpa
    yield "causal", LENGTH, lambda q, k, v: sdpa(q, k, v, is_causal=True)
    yield "dense", LENGTH, lambda q, k, v: sdpa(q, k, v, attn_mask=bias)
    yield "short", SHORT, _by(with_torch, causal() & window(SHORT - 2), Frame(SHORT, q_start=0), scale)
    yield "copied", LENGTH, _gathered(parts)
    for degree in DEGREES:
        one_by_one = plan(_random_graph(NODES, degree), Frame(NODES, q_start=0), Costs(), edges=True)
        yield f"degree {degree}", NODES, _planned(edges.attend, one_by_one, scale)
    for size in SIZES:
        for width in (NARROW, WIDE) if size == SIZES[0] else (WIDE,):
            in_blocks = in_blocks_of(causal() & window(width - 1), frame, size)
            yield f"blocks {(size, width)}", LENGTH, _planned(blocks.attend, in_blocks, scale)
    for rows in ROWS:
        yield f"few {rows}", CACHE, lambda q, k, v, rows=rows: sdpa(q[:, :, :rows], k, v)
    if here().variant is not None:
        yield "kernel short", SHORT, _by(kernel, causal(), Frame(SHORT, q_start=0), scale)
        for name, mask in _of_lists().items():
            yield f"kernel {name}", LENGTH, _in_lists(mask, frame, here().rows, grouped=False)
        for degree in DEGREES:
            of_graph = _in_lists(_random_graph(NODES, degree), Frame(NODES, q_start=0), 1, grouped=True)
            yield f"groups {degree}", NODES, of_graph
        for rows in () if training else ROWS:
            decode = _in_lists(causal(), Frame(rows, CACHE, align="end"), rows, grouped=True)
            yield f"decode {rows}", CACHE, lambda q, k, v, rows=rows, decode=decode: decode(q[:, :, :rows], k, v)


def _in_lists(mask: Mask, frame: Frame, size: int, grouped: bool) -> Way:
    """The kernel in one of its two ways."""
    lists = blocks_of(mask, frame, size, grouped=grouped)
    assert lists is not None
    return lambda q, k, v: torch_operations.attend(q, k, v, torch_operations.number_of(lists), DIM**-0.5)[0]


def _gathered(parts: Any) -> Way:
    """Keys and values by their numbers, as blocks take them."""
    return lambda q, k, v: q + torch.cat([k.index_select(2, part) + v.index_select(2, part) for part in parts], 2)


def _planned(attend: Way, chosen: Plan | None, scale: float) -> Way:
    return lambda q, k, v: attend(q, k, v, chosen, scale)


def _by(engine: Engine, mask: Mask, frame: Frame, scale: float) -> Way:
    return lambda q, k, v: engine.attention(q, k, v, mask, frame, scale)


def _random_graph(nodes: int, degree: int) -> Mask:
    random = np.random.default_rng(0)
    return graph(np.stack([np.repeat(np.arange(nodes), degree), random.integers(0, nodes, nodes * degree)], 1), nodes)
