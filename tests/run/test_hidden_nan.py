"""NaN and infinity do not reach what does not see them: every engine, every kind of mask, forward and backward."""

import functools
import math

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
    from tests.run.test_conformance import flex_attention, uncompiled

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


@pytest.mark.parametrize("library", ["numpy", "torch", "torch weights", "jax", "jax weights"])
@pytest.mark.parametrize("rule", [am.top_k(2), am.top_k_blocks(1, 2), am.threshold(-0.5)], ids=str)
@pytest.mark.parametrize("rows", [2, 9])
def test_selections(rule, library, rows, monkeypatch):
    """Rows that may not see it, by the mask, give what they give without it; forward and backward."""
    from attnmask.lower import chunks
    from attnmask.run.selected import torch as selected_torch

    for module in (chunks, selected_torch):
        monkeypatch.setattr(module, "rows_of", lambda copies, frame: rows)
    selection, frame = am.causal() & am.documents(lengths=[5, 4]) & rule, am.Frame(9)
    q, k, v, grad = np.random.default_rng(0).standard_normal((4, 2, 2, 9, 4)).astype("float32")
    bad_k, bad_v = k.copy(), v.copy()
    bad_k[:, :, 3:5, 1], bad_v[:, :, 2, 0], bad_v[:, :, 4] = np.nan, np.inf, -np.inf
    safe = np.r_[0:2, 5:9]  # rows 2 and 3 see a value, rows 3 and 4 a key too; keys 0 and 1 are seen by them
    clean_k, clean_v = (np.where(np.isfinite(array), array, 0).astype("float32") for array in (bad_k, bad_v))
    alone = grad.copy()
    alone[:, :, 2:5] = 0
    name, _, weights = library.partition(" ")
    found, right = (
        LIBRARIES[name](selection, frame, q, *arrays, grad_, weights)
        for arrays, grad_ in (((bad_k, bad_v), grad), ((clean_k, clean_v), alone))
    )
    for at, (one, other) in enumerate(zip(found, right, strict=True)):
        rows_of_it = safe if at < 2 else np.arange(5, 9)
        np.testing.assert_allclose(one[:, :, rows_of_it], other[:, :, rows_of_it], atol=1e-5)


def selected_in_numpy(selection, frame, q, k, v, grad, weights):
    return (am.attention(q, k, v, selection, frame=frame),)


def selected_in_torch(selection, frame, q, k, v, grad, weights):
    given = [torch.tensor(array).requires_grad_() for array in (q, k, v)]
    if weights:
        output = am.attention_weights(*given[:2], selection, frame=frame)
        used, grad = given[:2], np.tile(grad, 3)[..., :9]
    else:
        output, used = am.attention(*given, selection, frame=frame), given
    parts = output, *torch.autograd.grad(output, used, torch.tensor(grad))
    return [part.detach().numpy() for part in parts]


def selected_in_jax(selection, frame, q, k, v, grad, weights):
    jax = pytest.importorskip("jax")

    def run(q, k, v):
        if weights:
            return am.attention_weights(q, k, selection, frame=frame)
        return am.attention(q, k, v, selection, frame=frame)

    with am.nan_safe():
        output, pull = jax.vjp(run, *map(jax.numpy.asarray, (q, k, v)))
        parts = output, *pull(jax.numpy.asarray(np.tile(grad, 3)[..., :9] if weights else grad))
    return [np.asarray(part) for part in parts]


LIBRARIES = {"numpy": selected_in_numpy, "torch": selected_in_torch, "jax": selected_in_jax}


@EACH
def test_weights(mask, frame):
    """Of torch: hidden keys weigh exactly 0 in all rows, and a gradient of the rows that do not see it is finite."""
    q, k, _, _, settled = call(mask, frame)
    given = [torch.tensor(array).requires_grad_() for array in (q, k)]
    weights = am.attention_weights(*given, mask, frame=settled, scale=SCALE)
    np.testing.assert_allclose(
        weights.detach().numpy(), oracle.attention_weights(q, k, mask, settled, SCALE), atol=1e-12
    )
    assert not weights.detach()[~torch.tensor(mask.dense(settled)).expand(weights.shape)].any()
    right = weights.isfinite().all(-1)
    torch.where(weights.isfinite(), weights, 0.0).square().sum().backward()
    assert given[0].grad[right].isfinite().all()


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES[::6], ids=NAMES[::6])
def test_weights_of_jax_by_the_switch(mask, frame):
    jax = pytest.importorskip("jax")
    q, k, _, _, settled = call(mask, frame)
    q, k = (array.astype("float32") for array in (q, k))
    with am.nan_safe():
        run = functools.partial(am.attention_weights, mask=mask, frame=settled, scale=SCALE)
        weights, pull = jax.vjp(run, jax.numpy.asarray(q), jax.numpy.asarray(k))
        of_q = np.asarray(pull(jax.numpy.where(jax.numpy.isfinite(weights), weights, 0.0))[0])
    np.testing.assert_allclose(weights, oracle.attention_weights(q, k, mask, settled, SCALE), atol=1e-5)
    assert np.isfinite(of_q[np.isfinite(weights).all(-1)]).all()


LONG = {
    "pieces": (am.causal() & am.window(50), am.Frame(1200)),
    "edges": (am.graph(np.random.default_rng(0).integers(0, 1200, (3000, 2)), 1200), am.Frame(1200)),
    "a cache": (am.causal(), am.Frame(1, 1200, q_start=599)),
    "padding": (am.causal() & am.padding([700, 650]), am.Frame(1200)),
}


@pytest.mark.parametrize("engine", ["torch", "cpu"])
@pytest.mark.parametrize("name", LONG)
def test_what_was_never_written(name, engine):
    """All rows see keys before 600 only, or their own; the rest is NaN."""
    mask, frame = LONG[name]
    random = torch.Generator().manual_seed(0)
    q, grad = torch.randn(2, 2, 2, frame.q_len, 8, generator=random)
    k, v = torch.randn(2, 2, 2, 1200, 8, generator=random)
    clean = [array.clone().requires_grad_() for array in (q, k, v)]
    k[:, :, 700:], v[:, :, 700:] = math.nan, math.inf
    given = [array.requires_grad_() for array in (q, k, v)]
    seeing = torch.tensor(rows_that_see(mask, checked_frame(frame, mask, q, k), np.arange(1200)[None, None] >= 700, 1))
    seeing = seeing.expand(2, 2, -1)
    assert not seeing.all()
    outputs = [am.attention(*arrays, mask, frame=frame, engine=engine) for arrays in (given, clean)]
    gradients = [
        torch.autograd.grad(output[~seeing], arrays, grad[~seeing])
        for output, arrays in zip(outputs, (given, clean), strict=True)
    ]
    assert outputs[0][seeing].isnan().all()
    torch.testing.assert_close(outputs[0][~seeing], outputs[1][~seeing], atol=1e-5, rtol=1e-5)
    keys = ~gradients[0][1].isnan()  # not of those that rows see which are not finite
    assert keys[:, :, :600].any()
    torch.testing.assert_close(gradients[0][0][~seeing], gradients[1][0][~seeing], atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(one[keys], other[keys], atol=1e-5, rtol=1e-5)
