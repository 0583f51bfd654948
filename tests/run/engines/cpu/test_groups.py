"""Groups of few rows that read a key together give what the oracle gives, and so does the backward pass by keys."""

import math

import numpy as np
import pytest

import attnmask as am
from attnmask.define.fit import fit
from attnmask.errors import InputError
from attnmask.run.engines.cpu import ways
from attnmask.run.engines.cpu.blocks import blocks_of
from attnmask.run.engines.cpu.kernel import kernels
from attnmask.run.engines.numpy import oracle
from attnmask.run.request import Request, Setting
from tests.run.kinds import EXAMPLES, NAMES

torch = pytest.importorskip("torch")

from attnmask.run.engines.cpu import torch_operations  # noqa: E402 -- it imports torch, which may be missing

CAUSAL = am.causal()
EACH_KERNEL = pytest.mark.parametrize("variant", kernels().values(), ids=lambda found: found.variant)
ERRORS = {torch.float32: 2e-5, torch.bfloat16: 6e-2, torch.float16: 6e-3}


@pytest.fixture(autouse=True)
def _this_kernel(request, monkeypatch):
    """Each variant in its turn, not only the fastest."""
    if "variant" in request.fixturenames:
        found = request.getfixturevalue("variant")
        monkeypatch.setattr(torch_operations, "kernels", lambda: {found.rows: found})


def arrays_for(mask, frame, shared, dim, dim_v, batch=None):
    """q, k, v and a gradient of the output as NumPy arrays; so many query heads share a head of keys."""
    fitted, random = fit(mask, frame), np.random.default_rng(0)
    batch = batch or (fitted.batch if fitted.batch > 1 else 2)
    kv_heads = fitted.heads if fitted.heads > 1 else 2
    heads = kv_heads if fitted.heads > 1 else kv_heads * shared
    shapes = [(heads, frame.q_len, dim), (kv_heads, frame.kv_len, dim), (kv_heads, frame.kv_len, dim_v)]
    return [random.standard_normal((batch, *shape)) for shape in (*shapes, (heads, frame.q_len, dim_v))]


def results(lists, arrays, scale, dtype=torch.float32):
    """Output, log-sum-exp, and the gradients of the output alone."""
    *qkv, grad = (torch.tensor(array, dtype=dtype) for array in arrays)
    q, k, v = (array.requires_grad_() for array in qkv)
    output, lse = torch_operations.attend(q, k, v, torch_operations.number_of(lists), scale)
    return output, lse, *torch.autograd.grad(output, (q, k, v), grad)


def check(mask, frame, size, arrays, dtype=torch.float32, scale=None):
    scale = 1 / math.sqrt(arrays[0].shape[3]) if scale is None else scale
    exact = [torch.tensor(array, dtype=dtype).double().numpy() for array in arrays]
    lists = blocks_of(mask, frame, size, grouped=True)
    output, lse, *grads = results(lists, arrays, scale, dtype)
    right = [oracle.attention_lse(*exact[:3], mask, frame, scale), oracle.gradients(*exact, mask, frame, scale)]
    for mine, wanted in zip((output, *grads), (right[0][0], *right[1]), strict=True):
        limit = ERRORS[dtype] * max(1.0, np.abs(wanted).max())
        np.testing.assert_allclose(mine.detach().double().numpy(), wanted, rtol=0, atol=limit)
    np.testing.assert_allclose(lse.detach().numpy(), right[0][1], rtol=1e-5, atol=1e-4)


@EACH_KERNEL
@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind_of_mask(mask, frame, variant):
    for size in (1, min(frame.q_len, 5)):
        check(mask, frame, size, arrays_for(mask, frame, 3, 24, 9))


@EACH_KERNEL
@pytest.mark.parametrize("dtype", ERRORS, ids=str)
@pytest.mark.parametrize("shared", [1, 2, 5])
@pytest.mark.parametrize(("dim", "dim_v"), [(64, 64), (128, 72), (7, 200)])
def test_number_formats_and_sizes(dim, dim_v, shared, dtype, variant):
    mask, frame = CAUSAL & am.window(30) & am.padding([60, 3]), am.Frame(5, 67, align="end")
    check(mask, frame, 5, arrays_for(mask, frame, shared, dim, dim_v), dtype)
    check(mask, frame, 1, arrays_for(mask, frame, shared, dim, dim_v), dtype)


@EACH_KERNEL
@pytest.mark.parametrize("rows", [1, 2, 16])
def test_long_lists_are_cut_among_threads(rows, variant):
    """And what the parts give is merged: also parts that some row sees nothing of."""
    mask, frame = (CAUSAL & am.window(2000)) | am.sinks(2), am.Frame(rows, 6001, align="end")
    check(mask, frame, rows, arrays_for(mask, frame, 2, 32, 32, batch=1))


@EACH_KERNEL
def test_graphs_of_any_degree(variant):
    """Rows that see nothing, a row that sees everything, keys that nobody sees."""
    random, n = np.random.default_rng(1), 300
    edges = [(row, int(key)) for row in range(2, n) for key in random.choice(n - 5, row % 7, replace=False)]
    edges += [(1, key) for key in range(n - 5)]
    mask, frame = am.graph(edges, n), am.Frame(n)
    for shared in (1, 3):
        check(mask, frame, 1, arrays_for(mask, frame, shared, 64, 64))


@pytest.mark.parametrize("scale", [0.0, -0.3, 4.0])
def test_scales(scale):
    mask, frame = CAUSAL & am.window(9), am.Frame(4, 50, align="end")
    check(mask, frame, 4, arrays_for(mask, frame, 2, 16, 16), scale=scale)


def test_large_and_growing_scores():
    """A row's sums are scaled to its largest score, again and again."""
    mask, frame = CAUSAL, am.Frame(3, 700, align="end")
    q, k, v, grad = arrays_for(mask, frame, 2, 16, 16)
    k = k * np.linspace(0, 30, 700)[:, None]
    check(mask, frame, 3, [q, k, v, grad / 50])


def request(mask, frame, heads=8, kv_heads=8, **setting):
    return Request("torch", mask, frame, 1, heads, kv_heads, 64, 64, Setting(**setting))


def test_decoding_and_graphs_read_keys_once_and_prompts_do_not():
    random = np.random.default_rng(0)
    edges = np.stack([np.repeat(np.arange(4096), 8), random.integers(0, 4096, 8 * 4096)], 1)
    step = am.Frame(2, 4096, align="end")
    assert ways.cheapest(request(CAUSAL, step, heads=32)).grouped
    assert ways.cheapest(request(am.graph(edges, 4096), am.Frame(4096))).grouped
    assert ways.cheapest(request(am.graph(edges, 4096), am.Frame(4096), grad=True)).grouped
    assert not ways.cheapest(request(CAUSAL, am.Frame(4096))).grouped


def test_heads_that_share_keys_but_not_masks_are_computed_in_blocks():
    mask = am.same(am.h % 2, am.k % 2)
    assert not ways.cheapest(request(mask, am.Frame(4, 64, q_start=0, heads=8), kv_heads=4)).grouped
    assert blocks_of(mask, am.Frame(4, 64, q_start=0, heads=8), 4) is not None


def test_the_plan_says_how_keys_are_read():
    plan = am.plan(CAUSAL, am.Frame(1, 4096, align="end"), heads=32, kv_heads=8, dim=128)
    assert "reading keys once for 1 row of 4 heads that share keys" in plan.work.words
    with pytest.raises(InputError, match="divide"):
        am.plan(CAUSAL, 5, heads=4, kv_heads=3)


def test_the_same_numbers_with_any_number_of_threads():
    mask, frame = CAUSAL, am.Frame(1, 4000, align="end")
    lists, arrays = blocks_of(mask, frame, 1, grouped=True), arrays_for(mask, frame, 4, 64, 64, batch=1)
    threads = torch.get_num_threads()
    try:
        outputs = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            outputs.append(results(lists, arrays, 0.125)[0].detach())
    finally:
        torch.set_num_threads(threads)
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], atol=1e-6, rtol=0)


@EACH_KERNEL
def test_bfloat16_in_products_of_floats(variant, monkeypatch):
    """As where the processor does not multiply pairs of bfloat16."""
    monkeypatch.setattr(torch_operations, "groups_of", lambda rows, dtype: variant)
    mask, frame = CAUSAL & am.window(30) & am.padding([60, 3]), am.Frame(5, 67, align="end")
    for dims in ((64, 64), (7, 200)):
        check(mask, frame, 5, arrays_for(mask, frame, 2, *dims), torch.bfloat16)


HARD = {
    "ordinary": lambda q, k: (q, k),
    "large scores": lambda q, k: (q * 6, k),
    "growing scores": lambda q, k: (q, k * np.linspace(0, 6, k.shape[2])[:, None]),
}


@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [1, 4, 16])
def test_errors_are_no_larger_than_those_of_sdpa(rows, dtype, hard):
    frame = am.Frame(rows, 2000, align="end")
    q, k, v, _ = arrays_for(CAUSAL, frame, 1, 64, 64, batch=24)  # a mean over many numbers
    arrays = [torch.tensor(array, dtype=dtype) for array in (*HARD[hard](q, k), v)]
    exact = oracle.attention(*(array.double().numpy() for array in arrays), CAUSAL, frame, 0.125)
    lists = torch_operations.number_of(held := blocks_of(CAUSAL, frame, rows, grouped=True))
    ours = torch_operations.attend(*arrays, lists, 0.125)[0]
    visible = torch.from_numpy(CAUSAL.dense(frame))
    sdpa = torch.nn.functional.scaled_dot_product_attention(*arrays, attn_mask=visible)
    errors = [np.sqrt(np.square(found.double().numpy() - exact).mean()) for found in (ours, sdpa)]
    assert errors[0] <= 1.02 * errors[1]
    assert held.grouped
