"""NaN and infinity do not reach what does not see them: every engine, every kind of mask, forward and backward."""

import functools

import numpy as np
import pytest

import attnmask as am
from attnmask.define.fit import fit
from attnmask.run.contract import checked_frame
from attnmask.run.engines.numpy import oracle
from tests.run.kinds import EXAMPLES, NAMES

torch = pytest.importorskip("torch")

EACH = pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SCALE = 0.5


def call(mask, frame, dtype=torch.float64, seed=0):
    """q, k, v, a gradient and the settled frame; some keys and values, and a query, are not finite."""
    fitted = fit(mask, frame)
    batch, heads = fitted.batch if fitted.batch > 1 else 2, fitted.heads if fitted.heads > 1 else 4
    kv_heads = heads // 2 if heads % 2 == 0 else 1
    random = np.random.default_rng(seed)
    shapes = [(heads, frame.q_len), (kv_heads, frame.kv_len), (kv_heads, frame.kv_len), (heads, frame.q_len)]
    q, k, v, grad = (
        torch.tensor(random.standard_normal((batch, *shape, 4))).to(dtype).double().numpy() for shape in shapes
    )
    for array, part in ((q, 0.03), (k, 0.15), (v, 0.2)):
        for place in np.argwhere(random.random(array.shape[:3]) < part):
            numbers = random.random(4) < 0.5
            array[tuple(place)][numbers] = random.choice([np.nan, np.inf, -np.inf], numbers.sum())
    return q, k, v, grad, checked_frame(frame, mask, q, k)


def rows_that_see(mask, frame, bad, heads):
    """Whether a row (batch, heads, q_len) sees a key for which ``bad`` (batch, kv_heads, kv_len) is True."""
    per_head = np.repeat(bad, heads // bad.shape[1], axis=1)
    return (mask.dense(frame) & per_head[:, :, None]).any(-1)


@EACH
def test_the_oracle_keeps_hidden_numbers_away(mask, frame):
    q, k, v, grad, settled = call(mask, frame)
    zeros = [np.where(np.isfinite(array), array, 0.0) for array in (q, k, v)]
    of_keys = rows_that_see(mask, settled, ~np.isfinite(k).all(-1), q.shape[1])
    of_values = rows_that_see(mask, settled, ~np.isfinite(v).all(-1), q.shape[1])
    empty = np.broadcast_to(mask.empty_rows(settled), of_keys.shape)
    lost = (of_keys | of_values | ~np.isfinite(q).all(-1)) & ~empty
    output = oracle.attention(q, k, v, mask, settled, SCALE)
    right = oracle.attention(*zeros, mask, settled, SCALE)
    np.testing.assert_allclose(output[~lost], right[~lost], atol=1e-12)
    assert np.isnan(output[of_keys]).all()
    assert not np.isfinite(output[lost]).all(-1).any()
    gradients = oracle.gradients(q, k, v, grad, mask, settled, SCALE)
    alone = np.where(lost[..., None], 0.0, grad)
    visible = np.broadcast_to(mask.dense(settled), (*lost.shape, frame.kv_len))
    seen = (visible & lost[..., None]).any(2).reshape(*k.shape[:2], -1, frame.kv_len).any(2)
    places = (lost, seen, seen)
    for one, other, bad in zip(gradients, oracle.gradients(*zeros, alone, mask, settled, SCALE), places, strict=True):
        np.testing.assert_allclose(one[~bad], other[~bad], atol=1e-12)
        assert np.isnan(one[bad]).all()


@EACH
def test_numpy(mask, frame):
    q, k, v, _, settled = call(mask, frame)
    output = am.attention(q, k, v, mask, frame=settled, scale=SCALE)
    np.testing.assert_allclose(output, oracle.attention(q, k, v, mask, settled, SCALE), atol=1e-12)


def assert_right(mask, frame, engine, dtype):
    q, k, v, grad, settled = call(mask, frame, dtype)
    tensors = [torch.tensor(array, dtype=dtype) for array in (q, k, v, grad)]
    given = [array.clone().requires_grad_() for array in tensors[:3]]
    output = am.attention(*given, mask, frame=settled, scale=SCALE, engine=engine)
    found = output, *torch.autograd.grad(output, given, tensors[3])
    right = (
        oracle.attention(q, k, v, mask, settled, SCALE),
        *oracle.gradients(q, k, v, grad, mask, settled, SCALE),
    )
    allowed = 40 * torch.finfo(dtype).eps
    for name, one, other in zip(("output", "dq", "dk", "dv"), found, right, strict=True):
        np.testing.assert_allclose(one.detach().double().numpy(), other, rtol=allowed, atol=allowed, err_msg=name)
    with torch.no_grad():
        again = am.attention(*tensors[:3], mask, frame=settled, scale=SCALE, engine=engine)
    np.testing.assert_allclose(again.double().numpy(), right[0], rtol=allowed, atol=allowed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@EACH
def test_torch(mask, frame, dtype):
    assert_right(mask, frame, "torch", dtype)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@EACH
def test_our_kernel(mask, frame, dtype):
    assert_right(mask, frame, "cpu", dtype)


def zeros_and_lost(mask, settled, *arrays):
    """What the switch makes of a call: zeros for what is not finite, and the rows that see some of it."""
    q, k, v = arrays
    bad = rows_that_see(mask, settled, ~(np.isfinite(k).all(-1) & np.isfinite(v).all(-1)), q.shape[1])
    lost = (bad | ~np.isfinite(q).all(-1)) & ~np.broadcast_to(mask.empty_rows(settled), bad.shape)
    return [np.where(np.isfinite(array), array, 0.0) for array in arrays], lost


def assert_switched(found, mask, frame, arrays, settled, allowed):
    zeros, lost = zeros_and_lost(mask, settled, *arrays[:3])
    grad = np.where(lost[..., None], 0.0, arrays[3])
    right = np.where(lost[..., None], np.nan, oracle.attention(*zeros, mask, settled, SCALE))
    gradients = oracle.gradients(*zeros, grad, mask, settled, SCALE)
    hidden = [~np.isfinite(array) for array in arrays[:3]]
    gradients = [np.where(bad, 0.0, gradient) for bad, gradient in zip(hidden, gradients, strict=True)]
    for name, one, other in zip(("output", "dq", "dk", "dv"), found, (right, *gradients), strict=False):
        np.testing.assert_allclose(np.asarray(one), other, rtol=allowed, atol=allowed, err_msg=name)


@EACH
def test_jax_by_the_switch(mask, frame):
    jax = pytest.importorskip("jax")
    *arrays, settled = call(mask, frame)
    q, k, v, grad = (jax.numpy.asarray(array, "float32") for array in arrays)

    # as in test_conformance.py: compiling quickly, for each mask once
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

    @functools.partial(jax.jit, compiler_options=options)
    def run(q, k, v):
        with am.nan_safe():
            output, pull = jax.vjp(lambda *qkv: am.attention(*qkv, mask, frame=settled, scale=SCALE), q, k, v)
        return output, *pull(grad)

    found = run(q, k, v)
    assert_switched(found, mask, frame, [np.asarray(array) for array in (q, k, v, grad)], settled, 1e-5)


@EACH
def test_flex_by_the_switch(mask, frame, monkeypatch):
    from attnmask.run.engines.flex import engine, torch_compiled
    from tests.run.engines.test_conformance import flex_attention, uncompiled

    monkeypatch.setattr(flex_attention, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    monkeypatch.setattr(torch_compiled, "_compiled", uncompiled)
    *arrays, settled = call(mask, frame)
    tensors = [torch.tensor(array, dtype=torch.float32) for array in arrays[:3]]
    with am.nan_safe(), torch.no_grad():
        output = engine.attention(*tensors, mask, settled, SCALE)
    assert_switched([output], mask, frame, arrays, settled, 1e-5)


@pytest.mark.parametrize("engine", ["torch", "cpu"])
@pytest.mark.parametrize("mask", [am.causal(), am.window(2) & am.causal(), am.causal() & am.documents(lengths=[5, 4])])
@pytest.mark.usefixtures("_fresh_compiler")
def test_torch_compile_by_the_switch(mask, engine):
    *arrays, settled = call(mask, am.Frame(9))
    tensors = [torch.tensor(array, dtype=torch.float32) for array in arrays]

    @torch.compile(fullgraph=True, backend="aot_eager")
    def run(q, k, v):
        return am.attention(q, k, v, mask, frame=settled, scale=SCALE, engine=engine)

    plain = run(*tensors[:3])
    with am.nan_safe():
        given = [array.clone().requires_grad_() for array in tensors[:3]]
        output = run(*given)
        found = output, *torch.autograd.grad(output, given, tensors[3])
    assert_switched([part.detach() for part in found], mask, am.Frame(9), arrays, settled, 1e-5)
    assert plain.isnan().sum() >= found[0].isnan().sum()
