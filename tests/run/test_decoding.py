"""Decoding: a pass over all queries, taken apart into chunks and single steps, gives the same rows.

Two caches are common: one of fixed length, whose later keys are there but hidden, and one that grows. ``q_start`` says
where the chunk stands; the mask is the same for all steps.
"""

import functools
import itertools
import tracemalloc

import numpy as np
import pytest
import torch

import attnmask as am
from attnmask.define.fit import fit
from attnmask.errors import FrameError
from attnmask.lower import visible
from attnmask.run import calls
from attnmask.run.engines.torch import dense, plan, ways
from tests.run.test_conformance import examples as mask_examples

jax = pytest.importorskip("jax")

EXAMPLES = [
    *mask_examples(),
    (am.causal() & am.padding([3, 7], side="left", kv_len=7), am.Frame(7)),
    (am.causal() & am.window(3) & am.padding([3, 7], side="left", kv_len=7), am.Frame(7)),
    (am.causal() & (am.sinks(1) | am.window(2)), am.Frame(9)),
    (am.causal() & am.documents([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]]), am.Frame(6)),
    (am.prefix([3, 2]) | am.causal(), am.Frame(6)),
]
SELECTIONS = [(am.causal() & rule, am.Frame(9)) for rule in (am.top_k(3), am.top_k_blocks(2, 3), am.threshold(0.1))]
SELECTIONS += [(am.causal() & am.padding([3, 7], side="left", kv_len=7) & am.top_k_blocks(1, 2), am.Frame(7))]
ALL = EXAMPLES + SELECTIONS
NAMES = [f"{mask} in {frame}" for mask, frame in ALL]

quick_jit = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


def of_positions(mask):
    return mask.mask if isinstance(mask, am.Selection) else mask


def inputs(mask, frame, dim=4):
    """q, k and v with grouped heads."""
    fitted = fit(of_positions(mask), frame)
    batch = 2 if fitted.batch == 1 and "b" not in of_positions(mask).depends_on else fitted.batch
    heads = fitted.heads if fitted.heads > 1 else 4
    kv_heads = 2 if heads % 2 == 0 else 1
    random = np.random.default_rng(len(repr(mask)))
    shapes = [(batch, heads, frame.q_len), (batch, kv_heads, frame.kv_len), (batch, kv_heads, frame.kv_len)]
    return [random.standard_normal((*shape, dim)) for shape in shapes]


def whole(mask, frame):
    """All rows at once, by the oracle."""
    q, k, v = inputs(mask, frame)
    return am.attention(q, k, v, mask, frame=frame, engine="numpy")


def step(library, q, k, v, mask, frame):
    """One call in a library, and its tolerance."""
    if library == "numpy":
        return am.attention(q, k, v, mask, frame=frame)
    if library == "torch":
        return am.attention(*(torch.tensor(array) for array in (q, k, v)), mask, frame=frame).numpy()
    run = quick_jit(lambda q, k, v: am.attention(q, k, v, mask, frame=frame))
    return np.asarray(run(*(jax.numpy.asarray(array, "float32") for array in (q, k, v))))


def part_of(frame, first, stop, kv_len):
    start = None if frame.q_start is None else frame.q_start + first
    return am.Frame(stop - first, kv_len, q_start=start, heads=frame.heads)


def pieces(q_len, size):
    return [(first, min(first + size, q_len)) for first in range(0, q_len, size)]


def schedules(library, frame):
    """How the queries are taken apart: one by one, and in chunks; JAX compiles each step, so it takes a few."""
    if library == "jax":
        return [[(frame.q_len - 1, frame.q_len), (frame.q_len // 2, frame.q_len)]]
    return [pieces(frame.q_len, 1), pieces(frame.q_len, 3)]


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize(("mask", "frame"), ALL, ids=NAMES)
def test_cache_of_fixed_length(mask, frame, library):
    """Every kind of mask: the keys of all positions are there, as in a cache that is allocated once."""
    q, k, v = inputs(mask, frame)
    right = whole(mask, frame)
    for schedule in schedules(library, frame):
        for first, stop in schedule:
            part = part_of(frame, first, stop, frame.kv_len)
            rows = step(library, q[:, :, first:stop], k, v, mask, part)
            np.testing.assert_allclose(rows, right[:, :, first:stop], atol=4e-6 if library == "jax" else 1e-12)


def longest_length(mask):
    """The shortest cache that a mask with lengths can be asked about."""
    for kv_len in range(1, 20):
        try:
            fit(of_positions(mask), am.Frame(1, kv_len, q_start=0))
        except FrameError as error:
            if error.rule == "lengths are at most kv_len":
                continue
        return kv_len
    raise AssertionError(mask)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
@pytest.mark.parametrize(("mask", "frame"), ALL, ids=NAMES)
def test_cache_that_grows(mask, frame, library):
    """Every kind of mask, as far as it is causal: later keys are not there yet. Tables may speak of later positions."""
    if frame.q_start is None or frame.q_start + frame.q_len > frame.kv_len or frame.q_start < 0:
        pytest.skip("a query without a key of its own position")
    mask = mask & am.causal()
    q, k, v = inputs(mask, frame)
    right = whole(mask, frame)
    least = longest_length(mask)  # a prompt with lengths is filled in as one
    for schedule in schedules(library, frame):
        for first, stop in schedule:
            kv_len = max(frame.q_start + stop, least)
            part = part_of(frame, first, stop, kv_len)
            rows = step(library, q[:, :, first:stop], k[:, :, :kv_len], v[:, :, :kv_len], mask, part)
            np.testing.assert_allclose(rows, right[:, :, first:stop], atol=4e-6 if library == "jax" else 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "mask",
    [
        am.causal(),
        am.causal() & am.window(100),
        am.causal() & am.padding([700, 512, 90], side="left", kv_len=700),
        am.causal() & (am.sinks(4) | am.window(64)) & am.padding([700, 512, 90], side="left", kv_len=700),
        am.causal() & am.top_k_blocks(3, 32),
    ],
    ids=str,
)
def test_long_prompt_by_chunks_then_step_by_step(mask, dtype):
    """Lengths at which plans have pieces; the batch is padded on the left, and the answer goes beyond its table."""
    n, steps = 700, 5
    random = torch.Generator().manual_seed(0)
    q = torch.randn(3, 4, n + steps, 16, generator=random, dtype=torch.float64).to(dtype)
    k, v = torch.randn(2, 3, 2, n + steps, 16, generator=random, dtype=torch.float64).to(dtype)
    full = am.Frame(n + steps)
    right = am.attention(*(array.double().numpy() for array in (q, k, v)), mask, frame=full)
    bounds = [0, 256, 512, 700, *range(701, n + steps + 1)]
    for first, stop in itertools.pairwise(bounds):
        frame = am.Frame(stop - first, stop, align="end")
        assert frame.q_start == first
        rows = am.attention(q[:, :, first:stop], k[:, :, :stop], v[:, :, :stop], mask, frame=frame)
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(rows.double(), torch.tensor(right[:, :, first:stop]), rtol=8 * eps, atol=8 * eps)


def test_ragged_batch():
    """Caches of different lengths, each sequence at its own position: ``shift`` says where each one stands."""
    mask = am.causal() & am.window(3)
    q, k, v = inputs(mask, am.Frame(6))
    right = whole(mask, am.Frame(6))
    starts = [4, 1]
    queries = np.stack([q[row, :, start : start + 1] for row, start in enumerate(starts)])
    for library in ("numpy", "torch", "jax"):
        rows = step(library, queries, k, v, mask.shift(q=starts), am.Frame(1, 6, q_start=0))
        for row, start in enumerate(starts):
            np.testing.assert_allclose(rows[row, :, 0], right[row, :, start], atol=4e-6)


def test_refusal_names_the_lengths_of_a_prompt_that_is_not_there_yet():
    q = np.ones((2, 1, 1, 4))
    with pytest.raises(FrameError, match=r"lengths are at most kv_len; got a length of 5 in .* with kv_len=1"):
        am.attention(q, q, q, am.causal() & am.padding([5, 3]), frame=am.Frame(1, 1))


# What a step costs.


@pytest.fixture
def counted(monkeypatch):
    """How often a mask is evaluated, and how often it is planned."""
    found = []

    def counting(*args):
        found.append(args)
        return dense_torch(*args)

    dense_torch = dense.dense_torch
    monkeypatch.setattr(dense, "dense_torch", counting)
    for cache in (plan.plan, ways.cheapest, visible.visible_runs, dense._kept):
        cache.cache_clear()
    calls._SETTLED.clear()
    return lambda: (len(found), visible.visible_runs.cache_info().misses)


@pytest.mark.parametrize(
    "mask", [am.causal(), am.causal() & am.window(9), am.causal() & (am.sinks(2) | am.window(9))], ids=str
)
def test_repeated_step_pays_once(mask, counted):
    """All layers of a step have one frame."""
    k = torch.randn(1, 2, 300, 8)

    def layer():
        for rows in (1, 4):
            am.attention(torch.randn(1, 2, rows, 8), k, k, mask, frame=am.Frame(rows, 300, align="end"))

    layer()
    first = counted()
    assert sum(first) >= 1  # one causal row sees all that there is, and needs no mask
    assert max(first) <= 2
    for _ in range(4):
        layer()
    assert counted() == first


@pytest.mark.parametrize("mask", [am.causal() & am.window(9), am.dilated(2) & am.causal()], ids=str)
def test_new_positions_do_not_fill_the_memory(mask, monkeypatch):
    """A server that decodes for days meets ever new frames."""
    k = torch.randn(1, 1, 9600, 4)

    def decode(first, stop):
        for length in range(first, stop):
            am.attention(k[:, :, :1], k[:, :, :length], k[:, :, :length], mask, frame=am.Frame(1, length, align="end"))

    monkeypatch.setattr(calls, "MOST", 100)
    tracemalloc.start()
    decode(9000, 9300)  # more steps than any cache remembers
    before = tracemalloc.get_traced_memory()[0]
    decode(9300, 9600)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 300 * 9300 // 2  # far less than one byte per new pair of a query and a key
    assert len(calls._SETTLED) <= calls.MOST
    for cache in (plan.plan, ways.cheapest, visible.visible_runs):
        info = cache.cache_info()
        assert info.maxsize is not None
        assert info.currsize <= info.maxsize
