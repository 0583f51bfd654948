"""Blocks of rows, each over the keys that some of its rows see: attention under a mask in a few dozen calls of SDPA.

A block is computed in one call, under a mask of its own where some row does not see some key. Rows and keys that lie
evenly are parts of the arrays, others are copied. Where each row sees few keys that other rows do not see, as in a
graph, the visible pairs are computed one by one. What this costs on a machine decides, see ``run/costs.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.lower.runs import Ints, Runs, part_of, spread
from attnmask.lower.visible import blocked, patches, visible_runs
from attnmask.run.costs import Costs

SIZES = (32, 64, 128, 256)  # rows of a block that are tried
FEWEST = 24  # rows of a part, on average, to get blocks of its own
SAMPLED_HEADS = 4  # likewise
SAMPLED = 16  # blocks that are looked at to find the cost of a way to cut

Places = slice | Ints
Bools = NDArray[np.bool_]


class Block(NamedTuple):
    """Rows of one batch and head, or of all (None), the keys that they see, and the pairs (rows, keys) that are hidden, if any."""

    batch: int | None
    head: int | None
    rows: Places
    keys: Places
    hidden: Bools | None
    size: tuple[int, int]  # rows and keys


class Plan(NamedTuple):
    """How to compute a mask in a frame.

    Attributes:
        frame: the frame.
        blocks: what to compute; rows in none of them see nothing.
        edges: the visible pairs, where they are computed one by one; row r of these runs is query row ``r % q_len`` of
            head ``r // q_len % heads`` of batch ``r // q_len // heads``.
        computed: pairs that are computed, over the batches and heads that the mask tells apart.
        kept: what is kept with the plan between calls.
    """

    frame: Fitted
    blocks: tuple[Block, ...]
    edges: Runs | None
    computed: int
    kept: dict[Any, Any]


@functools.lru_cache(maxsize=64)
def plan(mask: Mask, frame: Frame, costs: Costs, edges: bool = False) -> Plan | None:
    """The blocks of a mask in a frame, or its edges; None where finding them costs more than it saves.

    >>> import attnmask as am
    >>> found = plan(am.documents(lengths=[300, 212]), am.Frame(512), Costs(call=1e6))
    >>> [(block.rows, block.keys) for block in found.blocks]
    [(slice(0, 300, 1), slice(0, 300, 1)), (slice(300, 512, 1), slice(300, 512, 1))]

    Args:
        mask: the mask.
        frame: where it is seen.
        costs: what pairs cost, and a call for each head that shares it.
        edges: whether to compute the visible pairs one by one.
    """
    found = visible_runs(mask, frame)
    if found is None:
        return None
    fitted, runs = found
    if edges:
        return Plan(fitted, (), runs, int(runs.length.sum()), {})
    return _of_blocks(fitted, runs, lambda part: min(_cuts(part), key=lambda rows: _cost(part, rows, costs)))


def in_blocks_of(mask: Mask, frame: Frame, size: int) -> Plan:
    """The plan with blocks of so many rows, in order."""
    found = visible_runs(mask, frame)
    assert found is not None
    return _of_blocks(*found, lambda part: blocked(np.arange(part.rows), size))


def _of_blocks(frame: Fitted, runs: Runs, cut: Callable[[Runs], Ints]) -> Plan:
    blocks = tuple(block for place, part in _heads(frame, runs) for block in _blocks(part, cut(part), *place))
    return Plan(frame, blocks, None, sum(block.size[0] * block.size[1] for block in blocks), {})


def _heads(frame: Fitted, runs: Runs) -> Iterator[tuple[tuple[int | None, int | None], Runs]]:
    """Batch, head and the runs of its rows; None for all."""
    for number in range(frame.batch * frame.heads):
        batch, head = divmod(number, frame.heads)
        place = (batch if frame.batch > 1 else None, head if frame.heads > 1 else None)
        yield place, part_of(runs, number * frame.q_len, frame.q_len)


def _blocks(runs: Runs, rows: Ints, batch: int | None, head: int | None) -> Iterator[Block]:
    """The blocks of one head, cut into these rows (blocks, rows)."""
    seeing = np.append(np.diff(runs.offsets) > 0, False)  # and -1, which is no row
    for of_block in rows:
        chosen = of_block[seeing[of_block]]
        if not len(chosen):
            continue
        spans = _spans(runs, chosen[None])
        keys = spread(spans.start, spans.stop - spans.start)
        visible = _visible(runs, chosen, keys)
        hidden = None if visible.all() else ~visible
        yield Block(batch, head, _places(chosen), _places(keys), hidden, (len(chosen), len(keys)))


def rough_cost(frame: Fitted, runs: Runs, costs: Costs) -> float:
    """What the blocks of the heads that the mask tells apart cost about, without looking for the best way to cut."""
    heads = frame.batch * frame.heads
    sample = range(0, heads, max(heads // SAMPLED_HEADS, 1))
    parts = (part_of(runs, number * frame.q_len, frame.q_len) for number in sample)
    order = np.arange(frame.q_len)
    total = sum(min(_cost(part, blocked(order, size), costs) for size in SIZES[:3]) for part in parts)
    return total * heads / len(sample)


def _cuts(runs: Runs) -> Iterator[Ints]:
    """Ways to cut rows into blocks (blocks, rows), filled up with -1: evenly, where they share no keys, in patches."""
    order = np.arange(runs.rows)
    parts = _parts(runs)
    apart = len(parts) > 0 and runs.rows >= FEWEST * (len(parts) + 1)
    for size in SIZES:
        yield blocked(order, size)
        if apart:
            yield _cut(runs.rows, parts, size)
    if apart:
        yield _cut(runs.rows, parts, runs.rows)
    for size in SIZES[1:3]:
        yield from (blocked(patch, size) for patch in patches(runs, runs.rows, size))


def _parts(runs: Runs) -> Ints:
    """Rows that share no key with the row before."""
    first, last = np.full(runs.rows, np.iinfo(np.int64).max), np.zeros(runs.rows, np.int64)
    some = np.diff(runs.offsets) > 0
    first[some], last[some] = runs.start[runs.offsets[:-1][some]], runs.stop[runs.offsets[1:][some] - 1]
    return np.flatnonzero((first[1:] >= last[:-1]) | (last[1:] <= first[:-1])) + 1


def _cut(rows: int, parts: Ints, size: int) -> Ints:
    """Blocks that do not cross where parts begin, the last of a part from half to half as large again."""
    edges = np.concatenate([[0], parts, [rows]])
    counts = np.maximum((np.diff(edges) + size // 2) // size, 1)
    starts = np.repeat(edges[:-1], counts) + size * spread(np.zeros_like(counts), counts)
    lengths = np.diff(np.append(starts, rows))
    across = np.arange(lengths.max())
    return np.where(across < lengths[:, None], starts[:, None] + across, -1)


class _Spans(NamedTuple):
    """Keys ``start .. stop`` that some row of a block sees."""

    block: Ints
    start: Ints
    stop: Ints


def _spans(runs: Runs, blocks: Ints) -> _Spans:
    """What each block (blocks, rows) sees, in order, with what touches as one."""
    block, lane = np.nonzero(blocks >= 0)
    row = blocks[block, lane]
    counts = np.diff(runs.offsets)[row]
    chosen, block = spread(runs.offsets[row], counts), np.repeat(block, counts)
    apart = int(runs.stop.max(initial=0)) + 1  # so that keys of different blocks never meet
    order = np.argsort(block * apart + runs.start[chosen], kind="stable")
    block, chosen = block[order], chosen[order]
    starts, stops = block * apart + runs.start[chosen], np.maximum.accumulate(block * apart + runs.stop[chosen])
    first = np.flatnonzero(np.append(True, starts[1:] > stops[:-1])[: len(starts)])
    last = np.append(first[1:], len(starts)) - 1 if len(first) else first
    base = block[first] * apart
    return _Spans(block[first], starts[first] - base, stops[last] - base)


def _cost(runs: Runs, blocks: Ints, costs: Costs) -> float:
    """Of all blocks, from some of them."""
    sample = blocks[:: max(len(blocks) // SAMPLED, 1)]
    spans = _spans(runs, sample)
    rows, numbers = (sample >= 0).sum(1), np.bincount(spans.block, minlength=len(sample))
    keys = np.bincount(spans.block, weights=spans.stop - spans.start, minlength=len(sample))
    scattered = (np.diff(np.where(sample < 0, sample.max(), sample), n=2) > 0).any(1) if sample.shape[1] > 2 else 0
    rate = np.array(costs.blocks)[np.searchsorted(SIZES[1:], rows, side="right")]
    times = rate * rows * keys + costs.copied * ((numbers > 1) * keys + scattered * rows) + costs.call * (keys > 0)
    return float(times.sum() * len(blocks) / len(sample))


def _places(numbers: Ints) -> Places:
    """Numbers in order as a slice, where they lie evenly."""
    step = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
    even = step > 0 and bool((np.diff(numbers) == step).all())
    return slice(int(numbers[0]), int(numbers[-1]) + 1, step) if even else numbers


def _visible(runs: Runs, rows: Ints, keys: Ints) -> Bools:
    """What rows see of keys (rows, keys), the keys in order and all that they see among them."""
    counts = np.diff(runs.offsets)[rows]
    chosen, lane = spread(runs.offsets[rows], counts), np.repeat(np.arange(len(rows)), counts)
    begin, end = np.searchsorted(keys, runs.start[chosen]), np.searchsorted(keys, runs.stop[chosen])
    visible = np.zeros((len(rows), len(keys)), bool)
    visible.reshape(-1)[spread(lane * len(keys) + begin, end - begin)] = True
    return visible
