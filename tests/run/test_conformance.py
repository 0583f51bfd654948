"""Every engine gives what the oracle gives, for every example of every kind of mask: output and gradients."""

import functools
import importlib
import math
import pkgutil

import numpy as np
import pytest

import attnmask as am
from attnmask.define import masks
from attnmask.define.fit import fit
from attnmask.run.choose import engine_names
from attnmask.run.contract import checked_frame
from attnmask.run.engines.flex import torch_compiled
from attnmask.run.engines.numpy import oracle

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
flex_attention = pytest.importorskip("torch.nn.attention.flex_attention")

DIM, DIM_V = 4, 3


def examples():
    modules = [
        importlib.import_module(f"{masks.__name__}.{file.name}") for file in pkgutil.iter_modules(masks.__path__)
    ]
    own = [(am.q < 2, am.Frame(3, 5, align="start")), (am.same(am.h % 2, am.k % 2), am.Frame(3, heads=4))]
    both = am.causal() & am.padding(valid=[[False, True, True], [True, True, False]])  # left padding: an empty row
    return [pair for module in modules for pair in module.EXAMPLES] + own + [(both, am.Frame(3))]


EXAMPLES = examples()
NAMES = [f"{mask} in {frame}" for mask, frame in EXAMPLES]


def call(mask, frame):
    """q, k, v and a gradient of the output, with grouped heads and dim_v != dim."""
    fitted = fit(mask, frame)
    batch, heads = max(fitted.batch, 2), fitted.heads if fitted.heads > 1 else 4
    kv_heads = 2 if heads % 2 == 0 else 1
    if fitted.batch == 1 and "b" in mask.depends_on:
        batch = 1
    random = np.random.default_rng(len(repr(mask)))
    shapes = [
        (batch, heads, frame.q_len, DIM),
        (batch, kv_heads, frame.kv_len, DIM),
        (batch, kv_heads, frame.kv_len, DIM_V),
        (batch, heads, frame.q_len, DIM_V),
    ]
    return [random.standard_normal(shape) for shape in shapes]


def expected(mask, frame):
    q, k, v, grad = call(mask, frame)
    settled = am.Frame(frame.q_len, frame.kv_len, q_start=frame.q_start, heads=frame.heads)
    scale = 1 / math.sqrt(DIM)
    return oracle.attention(q, k, v, mask, settled, scale), *oracle.gradients(q, k, v, grad, mask, settled, scale)


def in_numpy(mask, frame):
    q, k, v, grad = call(mask, frame)
    output = am.attention(q, k, v, mask, frame=frame, engine="numpy")
    weights = am.attention_weights(q, k, mask, frame=frame)
    per_head = np.repeat(v, q.shape[1] // v.shape[1], axis=1)
    return weights @ per_head, *numeric_gradients(q, k, v, grad, mask, frame), output


def numeric_gradients(q, k, v, grad, mask, frame, step=1e-6):
    """Central differences along one random direction per array, so that the closed form is checked by no formula."""
    for place in range(3):
        arrays = [q, k, v]
        direction = np.random.default_rng(place).standard_normal(arrays[place].shape)
        sides = []
        for sign in (1, -1):
            moved = [array + sign * step * direction if at == place else array for at, array in enumerate(arrays)]
            sides.append((am.attention(*moved, mask, frame=frame) * grad).sum())
        yield direction, (sides[0] - sides[1]) / (2 * step)


def in_torch(mask, frame, dtype):
    arrays = [torch.tensor(array, dtype=dtype) for array in call(mask, frame)]
    q, k, v = (array.requires_grad_() for array in arrays[:3])
    output = am.attention(q, k, v, mask, frame=frame, engine="torch")
    return [part.detach().double().numpy() for part in (output, *torch.autograd.grad(output, (q, k, v), arrays[3]))]


def in_jax(mask, frame):
    q, k, v, grad = (jax.numpy.asarray(array, "float32") for array in call(mask, frame))

    @functools.partial(
        jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    )
    def run(q, k, v):
        output, pull = jax.vjp(lambda *qkv: am.attention(*qkv, mask, frame=frame), q, k, v)
        return output, *pull(grad), am.attention_weights(q, k, mask, frame=frame)

    return [np.asarray(part) for part in run(q, k, v)]


def assert_same(results, mask, frame, tolerance):
    names = ("output", "dq", "dk", "dv")
    for name, result, right in zip(names, results, expected(mask, frame), strict=True):
        np.testing.assert_allclose(result, right, rtol=tolerance, atol=tolerance, err_msg=f"{name} of {mask}")
    empty = np.broadcast_to(mask.empty_rows(frame), results[0].shape[:3])
    assert not results[0][empty].any(), "output of empty rows"
    assert not results[1][empty].any(), "dq of empty rows"


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_oracle(mask, frame):
    output, dq, dk, dv = expected(mask, frame)
    by_weights, *slopes, by_call = in_numpy(mask, frame)
    np.testing.assert_allclose(by_weights, output, atol=1e-12)
    np.testing.assert_allclose(by_call, output, atol=1e-12)
    for gradient, (direction, slope) in zip((dq, dk, dv), slopes, strict=True):
        assert (gradient * direction).sum() == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_torch_float64(mask, frame):
    assert_same(in_torch(mask, frame, torch.float64), mask, frame, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_torch_dtypes(mask, frame, dtype):
    # inputs, weights and output are each rounded once; the sums are over at most 10 terms of size about 1
    assert_same(in_torch(mask, frame, dtype), mask, frame, 20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_jax_float32(mask, frame):
    *results, weights = in_jax(mask, frame)
    assert_same(results, mask, frame, 20 * float(np.finfo(np.float32).eps))
    assert_same_weights(weights, mask, frame)


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_torch_weights(mask, frame):
    q, k = (torch.tensor(array, dtype=torch.float32) for array in call(mask, frame)[:2])
    assert_same_weights(am.attention_weights(q, k, mask, frame=frame).numpy(), mask, frame)


def assert_same_weights(weights, mask, frame):
    right = am.attention_weights(*call(mask, frame)[:2], mask, frame=frame)
    np.testing.assert_allclose(weights, right, atol=20 * np.finfo(np.float32).eps)
    visible = np.broadcast_to(mask.dense(frame), right.shape)
    assert not weights[~visible].any(), "a hidden key has weight exactly 0"
    np.testing.assert_allclose(weights.sum(-1), visible.any(-1), atol=1e-6)


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_flex_uncompiled(mask, frame, monkeypatch):
    """FlexAttention's own arithmetic for our mask_mod, without its compiler; on the CPU it has no backward pass."""
    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(torch_compiled, "_compiled", uncompiled)
    q, k, v = (torch.tensor(array, dtype=torch.float32) for array in call(mask, frame)[:3])
    settled = checked_frame(frame, mask, q, k)
    output, lse = torch_compiled.attend(q, k, v, mask, settled, 1 / math.sqrt(DIM), with_lse=True)
    np.testing.assert_allclose(output, expected(mask, frame)[0], atol=20 * np.finfo(np.float32).eps)
    right = oracle.attention_lse(*call(mask, frame)[:3], mask, settled, 1 / math.sqrt(DIM))[1]
    np.testing.assert_allclose(lse, right, atol=2e-6)
    assert not output[torch.tensor(mask.empty_rows(frame)).expand(output.shape[:3])].any(), "output of empty rows"


def uncompiled(scale, grouped, with_lse, *kind):
    asked = torch_compiled.LSE if with_lse else {}
    return lambda q, k, v, mask: flex_attention.flex_attention(
        q, k, v, block_mask=mask, scale=scale, enable_gqa=grouped, **asked
    )


def test_every_engine_is_here():
    elsewhere = {
        "cpu",
        "flash_attn",
    }  # test_cpu_engine.py; test_flash_attn_engine.py and test_cuda.py, for want of a GPU
    known = {"numpy", "torch", "jax", "flex"} | elsewhere
    assert set(engine_names()) == known, "a new engine needs its conformance test in this file"
