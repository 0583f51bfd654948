"""A short benchmark on the machine at hand: ``attention`` beside torch's SDPA, as ratios from one interleaved run."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.documents import documents
from attnmask.define.masks.padding import padding
from attnmask.define.masks.window import window
from attnmask.errors import FrameError, InputError
from attnmask.exchange.common import plain_in
from attnmask.lower.grid import dense_torch
from attnmask.run.attention import attention
from attnmask.run.contract import checked_frame

HEADS, DIM = 8, 64
OURS, DENSE, NATIVE = "attnmask", "SDPA, dense mask", "SDPA, is_causal"
WORKS = ("forward", "training")
DTYPES = ("float32", "bfloat16", "float16")

FEWEST_ROUNDS, MOST_ROUNDS = 3, 15
SECONDS = 1.0  # per case, after its fewest rounds
LARGEST_DENSE = 20_000**2  # pairs of a dense mask, over the batch

Run = Callable[..., Any]


class Cell(NamedTuple):
    """The medians of one mask at one length.

    Attributes:
        pattern: its name.
        length: queries and keys.
        work: ``"forward"``, or ``"training"``: forward and backward.
        density: the part of all pairs that is visible.
        seconds: the median of each way to compute it.
    """

    pattern: str
    length: int
    work: str
    density: float
    seconds: dict[str, float]

    @property
    def peer(self) -> str | None:
        """The fastest other way."""
        others = {name: took for name, took in self.seconds.items() if name != OURS}
        return min(others, key=others.__getitem__) if others else None

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the fastest other way ``attention`` is."""
        return None if self.peer is None else self.seconds[self.peer] / self.seconds[OURS]


def patterns(length: int) -> dict[str, tuple[Mask, int]]:
    """The masks that are measured where the user names none, each with its batch size."""
    cuts = np.sort(np.random.default_rng(0).choice(np.arange(1, length), min(7, length // 16), replace=False))
    packed = np.diff(np.concatenate([[0], cuts, [length]])).tolist()
    side = max(1, length // 8)
    return {
        "causal": (causal(), 1),
        f"causal, window {side}": (causal() & window(side - 1), 1),
        f"{len(packed)} packed documents": (causal() & documents(lengths=packed), 1),
        "causal, padding": (causal() & padding([length, length // 2, length // 3, length // 4]), 4),
    }


def bench(mask: Mask | None, lengths: list[int], dtype: str = "float32", device: str = "cpu") -> Iterator[Cell]:
    """Measure masks at some lengths, forward and training.

    Args:
        mask: a mask of the user's own; None for causal, window, packed documents and padding.
        lengths: queries and keys.
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device: ``"cpu"`` or ``"cuda"``.

    Raises:
        InputError: the number format or the device is not there, or a length is too short.
        FrameError: the mask cannot be seen at a length.
    """
    _check(lengths, dtype, device)
    for length in lengths:
        chosen = patterns(length) if mask is None else {str(mask): (mask, _batch(mask, length))}
        for name, (one, batch) in chosen.items():
            yield from _measured(name, one, batch, length, dtype, device)


def _check(lengths: list[int], dtype: str, device: str) -> None:
    if min(lengths) < 32:
        raise InputError("a benchmark has lengths of at least 32", str(min(lengths)), "Write --length 1024")
    if dtype not in DTYPES:
        raise InputError(f"dtype is one of {', '.join(DTYPES)}", repr(dtype), "Write --dtype bfloat16")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError("the device is cpu, or cuda where there is one", repr(device), "Leave --device out")


def _batch(mask: Mask, length: int) -> int:
    """The batch size that a mask's tables say, or 1."""
    try:
        return fit(mask, Frame(length, heads=HEADS if "h" in mask.depends_on else None)).batch
    except FrameError:  # it depends on the batch, and no table says its size; or the next check will say what is wrong
        return 1


def _measured(name: str, mask: Mask, batch: int, length: int, dtype: str, device: str) -> Iterator[Cell]:
    shape = (batch, HEADS, length, DIM)
    torch.manual_seed(0)
    q, k, v, grad = (torch.randn(shape, dtype=getattr(torch, dtype), device=device) for _ in range(4))
    frame = checked_frame(Frame(length, q_start=0), mask, q, k)
    density = mask.density(frame)
    leaves = [array.requires_grad_() for array in (q, k, v)]
    runs = _ways(mask, frame, batch, device)
    for work in WORKS:
        cases = {way: _case(run, leaves, grad, work, device) for way, run in runs.items()}
        yield Cell(name, length, work, density, interleaved(cases))


def _ways(mask: Mask, frame: Frame, batch: int, device: str) -> dict[str, Run]:
    ways: dict[str, Run] = {OURS: lambda q, k, v: attention(q, k, v, mask)}
    if batch * frame.q_len * frame.kv_len <= LARGEST_DENSE:
        visible = dense_torch(mask, frame, torch.device(device)).expand(-1, -1, frame.q_len, frame.kv_len).contiguous()
        ways[DENSE] = lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=visible)
    if plain_in(mask, frame) == "causal":
        ways[NATIVE] = lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True)
    return ways


def _case(run: Run, leaves: list[Any], grad: Any, work: str, device: str) -> Callable[[], None]:
    """One timed call, which waits for a GPU to finish."""

    def case() -> None:
        if work == "forward":
            with torch.no_grad():
                run(*leaves)
        else:
            torch.autograd.grad(run(*leaves), leaves, grad)
        if device == "cuda":
            torch.cuda.synchronize()

    return case


def interleaved(cases: dict[str, Callable[[], None]]) -> dict[str, float]:
    """The median seconds of each case, all of them once in each round, after one call that is not counted.

    A busy moment of the machine so hits all of them.
    """
    for run in cases.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in cases}
    started, rounds = time.perf_counter(), 0
    while rounds < FEWEST_ROUNDS or (rounds < MOST_ROUNDS and time.perf_counter() - started < SECONDS):
        gc.collect()
        for name, run in cases.items():
            before = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - before)
        rounds += 1
    return {name: statistics.median(values) for name, values in times.items()}
