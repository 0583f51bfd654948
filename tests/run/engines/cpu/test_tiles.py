"""The kernel that multiplies 16-bit numbers gives what the oracle gives, as exactly as SDPA does in bfloat16."""

import math

import numpy as np
import pytest

import attnmask as am
from attnmask.run.engines.cpu import kernel
from attnmask.run.engines.cpu.blocks import Blocks, blocks_of
from attnmask.run.engines.cpu.kernel import TILED, kernel_of, kernels
from attnmask.run.engines.numpy import oracle
from tests.run.engines.cpu.test_cpu_engine import LARGER, call
from tests.run.kinds import EXAMPLES, NAMES

torch = pytest.importorskip("torch")

from attnmask.run.engines.cpu import torch_operations  # noqa: E402 -- it imports torch, which may be missing

CAUSAL, ROWS = am.causal(), 32
ORDINARY = 5e-3  # of the root mean square: weights are rounded to 8 digits, and so are results
HERE = [name for name in (*TILED, "emulated") if kernel._loaded(name) is not None]


@pytest.fixture(autouse=True, params=HERE)
def variant(request, monkeypatch):
    """Each variant that runs here, whichever is chosen."""
    found = kernel._loaded(request.param)
    monkeypatch.setattr(torch_operations, "kernel_of", lambda rows, dtype: found)
    return request.param


def attend(q, k, v, blocks, scale):
    return torch_operations.attend(q, k, v, torch_operations.number_of(blocks), scale)


def narrow(arrays):
    return [torch.tensor(array).bfloat16() for array in arrays]


def wide(arrays):
    return [array.detach().double().numpy() for array in arrays]


def results(arrays, attention):
    """The output, and the gradients of q, k and v."""
    *qkv, grad = arrays
    q, k, v = (array.clone().requires_grad_() for array in qkv)
    output = attention(q, k, v)
    return wide((output, *torch.autograd.grad(output, (q, k, v), grad)))


def given(arrays, mask, frame, scale=None):
    scale = 1 / math.sqrt(arrays[0].shape[3]) if scale is None else scale
    return results(arrays, lambda q, k, v: attend(q, k, v, blocks_of(mask, frame, ROWS), scale)[0])


def right(arrays, mask, frame, scale=None):
    exact, scale = wide(arrays), 1 / math.sqrt(arrays[0].shape[3]) if scale is None else scale
    return [oracle.attention(*exact[:3], mask, frame, scale), *oracle.gradients(*exact, mask, frame, scale)]


def mean_square(array):
    return math.sqrt(np.square(array).mean())


def assert_near(got, wanted, least=0.0, message=""):
    """Errors in the mean and at the most, relative to the mean of what is wanted, or to a size that it should have."""
    for n, (one, other) in enumerate(zip(got, wanted, strict=True)):
        error, size = np.abs(one - other), max(mean_square(other), least)
        assert mean_square(error) <= ORDINARY * size, f"result {n} {message}"
        assert (error <= 10 * ORDINARY * (size + np.abs(other))).all(), f"result {n} {message}"


def assert_oracle(arrays, mask, frame, least=0.0):
    got, wanted = given(arrays, mask, frame), right(arrays, mask, frame)
    assert_near(got, wanted, least, f"of {mask} in {frame}")
    empty = np.broadcast_to(mask.empty_rows(frame), got[0].shape[:3])
    assert not got[0][empty].any()
    assert not got[1][empty].any()


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind(mask, frame):
    assert_oracle(narrow(call(mask, frame, 16, 16)), mask, frame, least=1.0)  # gradients of so few keys may cancel out


@pytest.mark.parametrize("dims", [(1, 1), (8, 24), (33, 40), (64, 64), (80, 128), (192, 65)], ids=str)
def test_dims(dims):
    """Whole steps of 32 numbers, and what is left over."""
    frame = am.Frame(70, 90, align="end")
    mask = CAUSAL & am.window(20)
    assert_oracle(narrow(call(mask, frame, *dims)), mask, frame)


@pytest.mark.parametrize("mask", LARGER, ids=str)
def test_larger_sizes(mask):
    frame = am.Frame(800, heads=4 if "h" in mask.depends_on else None)
    assert_oracle(narrow(call(mask, frame, 32, 16)), mask, frame)


@pytest.mark.parametrize("mask", LARGER[1:7], ids=str)
def test_rectangular_frames(mask):
    frame = am.Frame(500, 800, align="end")
    assert_oracle(narrow(call(mask, frame, 16, 32)), mask, frame)


@pytest.mark.parametrize("scale", [0.3, 0.0, -0.7])
def test_any_scale(scale):
    mask, frame = CAUSAL & am.window(40), am.Frame(100)
    arrays = narrow(call(mask, frame, 16, 16))
    assert_near(given(arrays, mask, frame, scale), right(arrays, mask, frame, scale))


def test_few_heads_are_shared_by_threads():
    """Rows give the same in any thread; gradients of keys are summed apart, in the same way each time."""
    mask, frame, threads = CAUSAL & am.window(60), am.Frame(300), torch.get_num_threads()
    arrays = narrow([array[:1, :1] for array in call(mask, frame, 32, 32)])
    alone = given(arrays, mask, frame)
    try:
        torch.set_num_threads(3)
        assert_oracle(arrays, mask, frame)
        first, again = (given(arrays, mask, frame) for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(first[:2], alone[:2])
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_row_of_many_keys():
    """Which nobody else needs, so that they are not kept."""
    q, k, v, grad = narrow(np.random.default_rng(0).standard_normal((4, 2, 3, 500, 64)))
    assert_oracle((q[:, :, :1], k, v, grad[:, :, :1]), CAUSAL & am.window(400), am.Frame(1, 500, align="end"))


def test_layouts():
    """Numbers of a row lie side by side; all else may lie anywhere."""
    mask, frame = CAUSAL & am.window(40), am.Frame(90)
    arrays = narrow(call(mask, frame, 32, 32))
    plain = given(arrays, mask, frame)
    turned = [array.transpose(1, 2).contiguous().transpose(1, 2) for array in arrays]
    spread = [torch.cat([array, array], 3)[..., : array.shape[3]] for array in arrays]
    for others in (turned, spread):
        for one, other in zip(plain, given(others, mask, frame), strict=True):
            np.testing.assert_array_equal(one, other)


# ---- lists ----------------------------------------------------------------------------------------------------------


def shuffled(visible, random):
    """Blocks of one head, of rows in any order, whose entries of one key each are in no order either."""
    q_len = len(visible)
    places = np.full(-(-q_len // (ROWS - 5)) * ROWS, -1)
    places[random.permutation(len(places))[:q_len]] = random.permutation(q_len)
    rows, keys, seen, offsets = places.reshape(-1, ROWS), [], [], [0]
    for block in rows:
        sees = np.where(block[:, None] >= 0, visible[block], False)
        listed = random.permutation(np.flatnonzero(sees.any(0)))
        keys += list(listed)
        seen += [int(bits) for bits in (sees[:, listed] << np.arange(ROWS, dtype=np.uint64)[:, None]).sum(0)]
        offsets.append(len(keys))
    start = np.array(keys, np.int32)
    lists = np.array(offsets), start, start + 1, np.array(seen, np.uint32)
    return Blocks(rows[None, None].astype(np.int32), *lists, int(visible.sum()), visible.shape[1])


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 1.0])
def test_lists_in_any_order(share):
    """Few keys from anywhere, which are gathered, and many, whose neighbours stand elsewhere in the list."""
    random = np.random.default_rng(0)
    visible = random.random((100, 500)) < share
    arrays = narrow(random.standard_normal((4, 1, 1, 500, 64)))
    arrays[0], arrays[3] = (arrays[n][:, :, :100] for n in (0, 3))
    blocks = shuffled(visible, random)
    got = results(arrays, lambda q, k, v: attend(q, k, v, blocks, 0.125)[0])
    mask, frame = am.table(visible), am.Frame(100, 500, q_start=0)
    assert_near(got, right(arrays, mask, frame, 0.125))


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_lse_and_its_gradient():
    mask, frame = CAUSAL & am.window(30) & ~am.same(am.q, 33), am.Frame(90)
    q, k, v, _ = (array.requires_grad_() for array in narrow(call(mask, frame, 16, 16)))
    lse = attend(q, k, v, blocks_of(mask, frame, ROWS), 0.25)[1]
    exact = [array.detach().double().requires_grad_() for array in (q, k, v)]
    visible = torch.tensor(mask.dense(frame))
    scores = 0.25 * exact[0] @ exact[1].repeat_interleave(2, 1).transpose(2, 3)
    wanted = scores.masked_fill(~visible, -math.inf).logsumexp(-1)
    torch.testing.assert_close(lse.double(), wanted, atol=2e-5, rtol=0)  # -inf where -inf
    finite = wanted.isfinite()
    got = wide(torch.autograd.grad((lse.masked_fill(~finite, 0.0) ** 2).sum(), (q, k)))
    scores = scores.masked_fill(~visible, -1e9).logsumexp(-1)
    assert_near(got, wide(torch.autograd.grad((scores[finite] ** 2).sum(), exact[:2])))


def hard(name):
    random = np.random.default_rng(0)
    dim, length = (8, 300) if name == "small dims" else (64, 700)
    q, k, v, grad = random.standard_normal((4, 2, 2, length, dim))
    if name != "ordinary":
        q = 12 * q
    if name == "growing scores":
        k = k * np.linspace(0.1, 3, length)[:, None]
    if name == "small numbers":
        q, k, v, grad = q * 1e-3, k * 1e4, v * 1e-25, grad * 1e-10
    return narrow((q, k, v, grad))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("name", ["ordinary", "large scores", "growing scores", "small dims", "small numbers"])
def test_errors_are_those_of_sdpa(name, causal):
    arrays, mask = hard(name), CAUSAL if causal else am.everything()
    frame = am.Frame(arrays[0].shape[2])
    wanted = right(arrays, mask, frame)
    theirs = results(arrays, lambda *qkv: torch.nn.functional.scaled_dot_product_attention(*qkv, is_causal=causal))
    for ours, other, exact in zip(given(arrays, mask, frame), theirs, wanted, strict=True):
        assert mean_square(ours - exact) <= 1.1 * mean_square(other - exact)


def test_large_scores():
    """Weights of 0 and 1, and scores whose power no float holds."""
    mask, frame = CAUSAL & am.window(20), am.Frame(90)
    q, k, v, _ = call(mask, frame, 16, 16)
    arrays = narrow((100 * q, 100 * k, v))
    output = attend(*arrays, blocks_of(mask, frame, ROWS), 0.25)[0]
    wanted = oracle.attention(*wide(arrays), mask, frame, 0.25)
    np.testing.assert_allclose(output.double().numpy(), wanted, atol=0.01)


def test_denormal_numbers_count_as_0_and_only_here():
    """The processor treats them so in its products of bfloat16; other code finds them as they were."""
    tiny = torch.full((1, 1, 64, 32), 1e-39).bfloat16()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        output = attend(tiny, tiny, tiny, blocks_of(am.everything(), am.Frame(64), ROWS), 1.0)[0]
        assert not output.any()
        assert (torch.full((1 << 18,), 1e-39) * torch.ones(1 << 18)).all()
    finally:
        torch.set_num_threads(threads)


def test_nan_reaches_those_who_see_it_and_keys_that_a_block_does_not_see_reach_none_of_it():
    mask, frame = CAUSAL & am.window(20), am.Frame(300)
    arrays = narrow(call(mask, frame, 32, 32))
    plain = given(arrays, mask, frame)
    q, k, v, grad = (array.clone() for array in arrays)
    k[:, :, 100] = v[:, :, 100] = math.nan
    output, *_ = given((q, k, v, grad), mask, frame)
    assert np.isnan(output[:, :, 100:121]).all()
    others = np.r_[:96, 128:300]  # rows of other blocks
    np.testing.assert_array_equal(output[:, :, others], plain[0][:, :, others])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_nobody_sees_reaches_nobody(value):
    """Also as a neighbour of keys that are seen, and with gradients."""
    mask, frame = am.padding([70, 90, 33]), am.Frame(90)
    arrays = narrow(call(mask, frame, 32, 32))
    plain = given(arrays, mask, frame)
    for n, length in enumerate([70, 90, 33]):
        arrays[1][n, :, length:] = arrays[2][n, :, length:] = value
    for one, other in zip(given(arrays, mask, frame), plain, strict=True):
        np.testing.assert_array_equal(one, other)


# ---- the choice -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not kernels(), reason="the kernel was not compiled here")
def test_bfloat16_takes_it_where_it_runs(monkeypatch):
    found = next(iter(kernels().values()))
    tiled = [name for name in TILED if name in HERE and found.variant == "avx512"]
    assert kernel_of(found.rows, "bfloat16").variant == (tiled[0] if tiled else found.variant)
    for dtype in ("float32", "float16"):
        assert kernel_of(found.rows, dtype) is found
    monkeypatch.setattr(kernel, "HIDDEN", frozenset(TILED))
    assert kernel_of.__wrapped__(found.rows, "bfloat16") is found
