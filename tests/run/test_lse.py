"""``return_lse=True``: the log-sum-exp beside the output, in every engine, with its gradients."""

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import InputError

torch = pytest.importorskip("torch")
jnp = pytest.importorskip("jax.numpy")
jax = pytest.importorskip("jax")

from attnmask.lower import chunks  # noqa: E402
from attnmask.run.choose import refusal  # noqa: E402
from attnmask.run.engines.cpu.kernel import kernels  # noqa: E402
from attnmask.run.request import Request, Setting  # noqa: E402

Q_LEN, KV_LEN = 50, 70
FRAME = am.Frame(Q_LEN, KV_LEN, align="end")
MASKS = {
    "everything": am.everything(),
    "causal": am.causal(),
    "window with empty rows": am.causal() & am.window(9) & ~am.same(am.q, 33),
    "padding": am.causal() & am.padding([70, 25]),
    "nothing": am.nothing(),
    "by head": am.window(30, 30) & am.same(am.h % 2, am.k % 2),
    "selection": am.causal() & am.padding([70, 25]) & am.top_k(4),
}
CPU = pytest.param("cpu", marks=pytest.mark.skipif(not kernels(), reason="the kernel was not compiled here"))
EVERY_MASK = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
CONVERT = {"numpy": np.asarray, "torch": torch.tensor, "cpu": torch.tensor, "jax": jnp.asarray}


def inputs(dtype="float32"):
    random = np.random.default_rng(0)
    return [
        random.standard_normal((2, heads, n, 8)).astype(dtype) for heads, n in ((4, Q_LEN), (2, KV_LEN), (2, KV_LEN))
    ]


def asked_for(engine, mask):
    """A selection is computed by no engine but the one named as the library."""
    return None if engine == "cpu" and isinstance(mask, am.Selection) else engine


def formula(q, k, v, visible):
    """Output and log-sum-exp in torch, in the number format of q."""
    k, v = (array.repeat_interleave(q.shape[1] // k.shape[1], 1) for array in (k, v))
    scores = (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).masked_fill(~visible, -torch.inf)
    lse = scores.logsumexp(-1)
    weights = (scores - lse.masked_fill(lse == -torch.inf, 0.0)[..., None]).exp()
    return weights @ v, lse


def visible_of(mask, q, k):
    return torch.tensor(np.asarray(am.attention_weights(q, k, mask, frame=FRAME)) > 0)


@EVERY_MASK
@pytest.mark.parametrize("engine", ["numpy", "torch", CPU, "jax"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_engine(engine, mask, dtype):
    given = inputs(dtype)
    wide = [torch.tensor(array).double() for array in given]
    output, lse = formula(*wide, visible_of(mask, *(array.numpy() for array in wide[:2])))
    arrays = [CONVERT[engine](array) for array in given]
    result = am.attention(*arrays, mask, frame=FRAME, engine=asked_for(engine, mask), return_lse=True)
    assert type(result) is tuple
    assert type(result[1]) is type(result[0])
    assert str(result[1].dtype).removeprefix("torch.") == "float32"
    assert str(result[0].dtype).removeprefix("torch.") == dtype
    precision = 1e-5 if dtype == "float32" else 3e-3
    np.testing.assert_allclose(np.asarray(result[0]), output, atol=precision)
    np.testing.assert_allclose(np.asarray(result[1]), lse, atol=1e-5)  # -inf where -inf
    alone = am.attention(*arrays, mask, frame=FRAME, engine=asked_for(engine, mask))
    np.testing.assert_allclose(np.asarray(alone), np.asarray(result[0]), atol=precision)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_float64_stays(library):
    arrays = [CONVERT[library](array) for array in inputs("float64")]
    for mask in MASKS.values():
        output, lse = am.attention(*arrays, mask, frame=FRAME, return_lse=True)
        assert "float64" in str(output.dtype)
        assert "float64" in str(lse.dtype)


def gradients(function, arrays, weights):
    """Of a loss of the output, of the log-sum-exp, and of both."""
    parts = function(*arrays)
    losses = [
        (torch.where(one.isfinite(), one, 0.0) * weight).sum() for one, weight in zip(parts, weights, strict=True)
    ]
    found = [torch.autograd.grad(loss, arrays, retain_graph=True, allow_unused=True) for loss in (*losses, sum(losses))]
    return [torch.zeros_like(array) if g is None else g for gs in found for array, g in zip(arrays, gs, strict=True)]


@EVERY_MASK
@pytest.mark.parametrize("engine", ["torch", CPU])
@pytest.mark.parametrize("in_chunks", [False, True])
def test_gradients(engine, mask, in_chunks, monkeypatch):
    if in_chunks:
        monkeypatch.setattr(chunks, "SCORES", 5000)
    dtype = torch.float64 if engine == "torch" else torch.float32
    arrays = [torch.tensor(array).to(dtype).requires_grad_() for array in inputs("float64")]
    wide = [array.detach().double().requires_grad_() for array in arrays]
    visible = visible_of(mask, *(array.detach().double().numpy() for array in wide[:2]))
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(2, 4, Q_LEN, 8, generator=generator), torch.randn(2, 4, Q_LEN, generator=generator)]

    def call(*arrays):
        return am.attention(*arrays, mask, frame=FRAME, engine=asked_for(engine, mask), return_lse=True)

    right = gradients(lambda *arrays: formula_without_nan(*arrays, visible), wide, weights)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if engine == "torch" else {"rtol": 1e-4, "atol": 1e-5}
    for one, other in zip(gradients(call, arrays, weights), right, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, **tolerance)


def formula_without_nan(q, k, v, visible):
    """The same; the gradients of rows that see nothing are 0."""
    nothing = ~visible.any(-1, keepdim=True)
    output, lse = formula(q, k, v, visible | nothing)
    return torch.where(nothing, 0.0, output), torch.where(nothing[..., 0], -torch.inf, lse)


@EVERY_MASK
def test_gradients_in_jax(mask):
    arrays = [jnp.asarray(array) for array in inputs()]
    wide = [torch.tensor(array).double().requires_grad_() for array in inputs()]
    visible = visible_of(mask, *inputs()[:2])

    def loss(*arrays):
        output, lse = am.attention(*arrays, mask, frame=FRAME, return_lse=True)
        return (output * output).sum() + jnp.sin(jnp.where(jnp.isfinite(lse), lse, 0.0)).sum()

    output, lse = formula_without_nan(*wide, visible)
    right = torch.autograd.grad((output * output).sum() + torch.where(lse.isfinite(), lse, 0.0).sin().sum(), wide)
    for one, other in zip(jax.jit(jax.grad(loss, (0, 1, 2)))(*arrays), right, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


@pytest.mark.parametrize("engine", ["numpy", "torch", CPU, "jax"])
def test_halves_of_the_keys_merge_to_the_whole(engine):
    """Some rows see keys of one half only, and some of none."""
    mask, arrays = MASKS["window with empty rows"], [CONVERT[engine](array) for array in inputs()]
    parts = [
        am.attention(*arrays, mask & half, frame=FRAME, engine=engine, return_lse=True)
        for half in (am.k < 30, am.k >= 30)
    ]
    (first, lse), (rest, lse_of_rest) = ([np.asarray(one, np.float64) for one in part] for part in parts)
    total = np.logaddexp(lse, lse_of_rest)
    finite = np.where(np.isfinite(total), total, 0.0)
    merged = np.exp(lse - finite)[..., None] * first + np.exp(lse_of_rest - finite)[..., None] * rest
    output, whole = am.attention(*arrays, mask, frame=FRAME, engine=engine, return_lse=True)
    np.testing.assert_allclose(merged, np.asarray(output), atol=1e-6)
    np.testing.assert_allclose(total, np.asarray(whole), atol=1e-5)


@pytest.mark.parametrize("engine", ["numpy", "torch", CPU])
def test_what_is_hidden_and_not_finite_reaches_no_log_sum_exp(engine):
    q, k, v = inputs()
    mask = am.causal() & am.window(9)
    arrays = [CONVERT[engine](array) for array in (q, k, v)]
    right = am.attention(*arrays, mask, frame=FRAME, engine=engine, return_lse=True)
    k[:, :, 40], v[:, :, 45] = np.nan, np.nan
    arrays = [CONVERT[engine](array) for array in (q, k, v)]
    output, lse = (np.asarray(x) for x in am.attention(*arrays, mask, frame=FRAME, engine=engine, return_lse=True))
    place = np.arange(Q_LEN) + KV_LEN - Q_LEN
    of_key, of_value = (place >= 40) & (place <= 49), (place >= 45) & (place <= 54)
    assert np.isnan(lse[:, :, of_key]).all()
    assert np.isnan(output[:, :, of_key | of_value]).all()
    np.testing.assert_allclose(lse[:, :, ~of_key], np.asarray(right[1])[:, :, ~of_key], atol=1e-5)
    clean = ~(of_key | of_value)
    np.testing.assert_allclose(output[:, :, clean], np.asarray(right[0])[:, :, clean], atol=1e-6)


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("engine", [None, "torch", CPU])
def test_compiled_and_exported(engine):
    arrays, mask = [torch.tensor(array).requires_grad_() for array in inputs()], MASKS["padding"]

    class Module(torch.nn.Module):
        def forward(self, q, k, v):
            return am.attention(q, k, v, mask, frame=FRAME, engine=engine, return_lse=True)

    module = Module()
    weights = [torch.ones(2, 4, Q_LEN, 8), torch.ones(2, 4, Q_LEN)]
    programs = [
        torch.compile(module, fullgraph=True, backend="aot_eager"),
        torch.export.export(module, tuple(arrays)).module(),
    ]
    for program in programs:
        torch.testing.assert_close(program(*arrays), module(*arrays))
        for one, other in zip(gradients(program, arrays, weights), gradients(module, arrays, weights), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_autocast():
    arrays = [torch.tensor(array) for array in inputs()]
    for engine in (None, "torch"):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output, lse = am.attention(*arrays, MASKS["padding"], frame=FRAME, engine=engine, return_lse=True)
        assert (output.dtype, lse.dtype) == (torch.bfloat16, torch.float32)


def test_engines_without_it_refuse():
    arrays = [torch.tensor(array) for array in inputs()]
    with pytest.raises(InputError, match="on the CPU it gives no log-sum-exp"):
        am.attention(*arrays, am.causal(), frame=FRAME, engine="flex", return_lse=True)
    setting = Setting("bfloat16", "cuda", grad=True, lse=True)
    request = Request("torch", am.causal(), FRAME, 2, 4, 2, 8, 8, setting)
    assert refusal("flash_attn", request) == "its log-sum-exp has no gradients; call it under torch.no_grad()"
