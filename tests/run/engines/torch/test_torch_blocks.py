"""The blocks of a plan give the output and the gradients of the oracle."""

import math

import numpy as np
import pytest

import attnmask as am
from attnmask.define.fit import fit
from attnmask.run.costs import Costs
from attnmask.run.engines.numpy import oracle
from attnmask.run.engines.torch.plan import plan
from tests.run.kinds import EXAMPLES, NAMES, forced

torch = pytest.importorskip("torch")

from attnmask.run.engines.torch import blocks  # noqa: E402
from attnmask.run.engines.torch.blocks import attend  # noqa: E402

DIM = 4


def call(mask, frame, heads=4):
    """q, k, v and a gradient of the output as NumPy arrays, with grouped heads."""
    fitted = fit(mask, frame)
    batch = 2 if fitted.batch == 1 else fitted.batch
    heads = heads if fitted.heads == 1 else fitted.heads
    kv_heads = heads // 2 if heads % 2 == 0 else 1
    random = np.random.default_rng(0)
    shapes = [(batch, heads, frame.q_len), (batch, kv_heads, frame.kv_len)]
    return [random.standard_normal((*shape, DIM)) for shape in (shapes[0], shapes[1], shapes[1], shapes[0])]


def results(found, arrays, dtype=torch.float64, attend=attend):
    *qkv, grad = (torch.tensor(array, dtype=dtype) for array in arrays)
    q, k, v = (array.requires_grad_() for array in qkv)
    output = attend(q, k, v, found, 1 / math.sqrt(DIM))
    assert output.dtype == dtype
    parts = (output, *torch.autograd.grad(output, (q, k, v), grad))
    return [part.detach().double().numpy() for part in parts]


def assert_oracle(given, arrays, mask, frame, tolerance):
    scale = 1 / math.sqrt(DIM)
    right = oracle.attention(*arrays[:3], mask, frame, scale), *oracle.gradients(*arrays, mask, frame, scale)
    for name, one, other in zip(("output", "dq", "dk", "dv"), given, right, strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance, err_msg=f"{name} of {mask}")
    empty = np.broadcast_to(mask.empty_rows(frame), given[0].shape[:3])
    assert not given[0][empty].any()
    assert not given[1][empty].any()


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind(mask, frame):
    arrays = call(mask, frame)
    assert_oracle(results(forced(mask, frame), arrays), arrays, mask, frame, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("mask", "frame"), EXAMPLES[-8:], ids=NAMES[-8:])
def test_dtypes(mask, frame, dtype):
    arrays = [torch.tensor(array, dtype=dtype).double().numpy() for array in call(mask, frame)]
    assert_oracle(results(forced(mask, frame), arrays, dtype), arrays, mask, frame, 20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("dtype", "length", "forward", "backward"),
    [
        (torch.bfloat16, 40, torch.bfloat16, torch.float32),
        (torch.bfloat16, 900, torch.bfloat16, torch.bfloat16),
        (torch.float16, 900, torch.float32, torch.float32),
        (torch.float64, 40, torch.float64, torch.float64),
    ],
)
def test_the_kernel_gets_numbers_that_it_is_fast_with(monkeypatch, dtype, length, forward, backward):
    seen = []

    def watched(kernel):
        return lambda *arrays, **given: seen.append(arrays[0].dtype) or kernel(*arrays, **given)

    for name in ("_forward_kernel", "_backward_kernel"):
        monkeypatch.setattr(blocks, name, watched(getattr(blocks, name)))
    mask = am.documents(lengths=[length, length - 1])
    arrays = call(mask, am.Frame(2 * length - 1), heads=2)
    results(plan(mask, am.Frame(2 * length - 1), Costs(call=1e6)), arrays, dtype)
    assert seen == [forward] * (len(seen) // 2) + [backward] * (len(seen) // 2)
    assert len(seen) >= 2


LARGER = [
    am.causal() & am.window(40),
    am.causal() & am.window(700),
    am.window(30, 20),
    am.causal() & am.documents(lengths=[300, 20, 480]),
    am.causal() & am.padding([800, 310, 0]),
    am.causal() & am.padding([800, 310, 0], side="left", kv_len=800),
    am.prefix(200) | am.causal(),
    am.causal() & (am.sinks(4) | am.window(100)),
    am.dilated(3) & am.window(100),
    am.random_blocks(800, 50, 2),
    am.block_diffusion(400, 16),
]


@pytest.mark.parametrize("mask", LARGER, ids=str)
def test_larger_sizes_as_planned(mask):
    frame = am.Frame(800)
    arrays = call(mask, frame, heads=2)
    found = plan(mask, frame, Costs())
    assert_oracle(results(found, arrays), arrays, mask, frame, 1e-11)
    public = am.attention(*(torch.tensor(array) for array in arrays[:3]), mask, engine="torch")
    np.testing.assert_allclose(public.numpy(), results(found, arrays)[0], atol=1e-11)


@pytest.mark.parametrize("mask", LARGER[:6], ids=str)
def test_rectangular_frames(mask):
    frame = am.Frame(500, 800, align="end")
    arrays = call(mask, frame, heads=2)
    assert_oracle(results(plan(mask, frame, Costs()), arrays), arrays, mask, frame, 1e-11)


def inputs():
    torch.manual_seed(0)
    return [torch.randn(2, heads, 300, DIM, requires_grad=True) for heads in (4, 2, 2)]


WINDOW, FRAME = am.causal() & am.window(20), am.Frame(300)


def gradients(q, k, v, grad=None):
    output = attend(q, k, v, plan(WINDOW, FRAME, Costs()), 0.5)
    return [output, *torch.autograd.grad(output, (q, k, v), torch.ones_like(output) if grad is None else grad)]


def test_heads_last_and_strided_inputs():
    plain = inputs()
    heads_last = [array.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() for array in plain]
    dim_first = [array.detach().transpose(2, 3).contiguous().transpose(2, 3).requires_grad_() for array in plain]
    sliced = [torch.cat([array.detach()] * 2, 2)[:, :, 300:].requires_grad_() for array in plain]
    for others in (heads_last, dim_first, sliced):
        torch.testing.assert_close(gradients(*others), gradients(*plain))


def test_gradients_that_are_expanded():
    arrays = inputs()
    expanded = torch.ones(()).expand(2, 4, 300, DIM)
    torch.testing.assert_close(gradients(*arrays, expanded), gradients(*arrays))


def test_inputs_are_left_as_they_are():
    arrays = inputs()
    before = [array.detach().clone() for array in arrays]
    gradients(*arrays)
    torch.testing.assert_close([array.detach() for array in arrays], before)


def test_only_some_inputs_want_gradients():
    q, k, v = inputs()
    output = attend(q, k.detach(), v.detach(), plan(WINDOW, FRAME, Costs()), 0.5)
    torch.testing.assert_close(torch.autograd.grad(output.sum(), q)[0], gradients(q, k, v)[1])


def test_second_derivatives_are_refused():
    arrays = inputs()
    output = attend(*arrays, plan(WINDOW, FRAME, Costs()), 0.5)
    (first,) = torch.autograd.grad(output.square().sum(), arrays[0], create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives"):
        first.sum().backward()


def test_autocast():
    arrays = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = am.attention(*arrays, WINDOW, engine="torch")
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), am.attention(*arrays, WINDOW, engine="torch"), atol=0.03, rtol=0.03)
    assert all(gradient.dtype == torch.float32 for gradient in torch.autograd.grad(output.sum(), arrays))


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # SDPA gives it too
def test_vmap_and_functional_gradients():
    arrays = [array.detach() for array in inputs()]
    stacked = torch.func.vmap(lambda *qkv: am.attention(*(a[None] for a in qkv), WINDOW, engine="torch")[0])(*arrays)
    torch.testing.assert_close(stacked, am.attention(*arrays, WINDOW, engine="torch"))
    by_q = torch.func.grad(lambda q: am.attention(q, *arrays[1:], WINDOW, engine="torch").sum())(arrays[0])
    assert by_q.isfinite().all()


def test_memory_follows_what_is_visible():
    """A window over 16 384 tokens, whose dense mask alone would take 268 MB."""
    resource = pytest.importorskip("resource")
    q = torch.randn(1, 1, 16384, 16)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    am.attention(q, q, q, am.causal() & am.window(255), engine="torch")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
