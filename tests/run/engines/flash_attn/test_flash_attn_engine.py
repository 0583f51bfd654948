"""The flash_attn engine with a package of its documented semantics, written in plain torch: the real one needs a GPU."""

import math
import types

import numpy as np
import pytest

import attnmask as am
from attnmask.run.choose import choose, fastest, refusal
from attnmask.run.contract import checked_frame
from attnmask.run.engines.flash_attn import engine
from attnmask.run.engines.numpy import oracle
from attnmask.run.request import Request, Setting

torch = pytest.importorskip("torch")

DIM = 4
CAUSAL = am.causal()
CASES = [
    (CAUSAL, am.Frame(6)),
    (CAUSAL, am.Frame(2, 6, align="end")),
    (am.window(2, 1), am.Frame(2, 6, q_start=3)),
    (CAUSAL & am.documents(lengths=[2, 3, 1]), am.Frame(6)),
    (am.documents([[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 2]]) & am.window(1), am.Frame(6)),
    (am.padding([2, 6]), am.Frame(3, 6)),
    (am.padding([0, 4]) & CAUSAL, am.Frame(6)),
]


def one(q, k, v, scale, causal, window):
    """(queries, heads, dim) and (keys, kv_heads, dim): aligned at the bottom right, empty rows 0, and inf in the log-sum-exp."""
    rows, keys, group = len(q), len(k), q.shape[1] // k.shape[1]
    at = torch.arange(rows)[:, None] + keys - rows
    seen = torch.arange(keys)
    right = 0 if causal else window[1]
    visible = (seen <= at + right) if right >= 0 else (seen == seen)
    visible = visible & (seen >= at - window[0]) if window[0] >= 0 else visible.expand(rows, keys)
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    scores, some = scores.masked_fill(~visible, -math.inf), visible.any(-1, keepdim=True)
    weights = torch.where(some, torch.softmax(scores, -1), 0.0)
    return torch.einsum("hqk,khd->qhd", weights, v), scores.logsumexp(-1).float().masked_fill(~some[..., 0], math.inf)


def flash_attn_func(
    q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), return_attn_probs=False
):
    parts = [one(*part, softmax_scale, causal, window_size) for part in zip(q, k, v, strict=True)]
    output, lse = (torch.stack(arrays) for arrays in zip(*parts, strict=True))
    return (output, lse, None) if return_attn_probs else output


def flash_attn_varlen_func(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_k,
    max_seqlen_q,
    max_seqlen_k,
    dropout_p=0.0,
    softmax_scale=None,
    causal=False,
    window_size=(-1, -1),
    return_attn_probs=False,
):
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert q.shape[0] == cu_seqlens_q[-1]
    assert k.shape[0] == v.shape[0] == cu_seqlens_k[-1]
    rows, keys = cu_seqlens_q.diff(), cu_seqlens_k.diff()
    assert (rows.max(), keys.max()) == (max_seqlen_q, max_seqlen_k)
    parts = zip(q.split(rows.tolist()), k.split(keys.tolist()), v.split(keys.tolist()), strict=True)
    done = [one(*part, softmax_scale, causal, window_size) for part in parts]
    output, lse = torch.cat([part[0] for part in done]), torch.cat([part[1] for part in done], 1)
    return (output, lse, None) if return_attn_probs else output


PACKAGE = types.SimpleNamespace(flash_attn_func=flash_attn_func, flash_attn_varlen_func=flash_attn_varlen_func)


@pytest.mark.parametrize(("mask", "frame"), CASES, ids=str)
def test_output_and_gradients_are_the_oracle_s(mask, frame, monkeypatch):
    monkeypatch.setattr(engine, "package", lambda: PACKAGE)
    random = np.random.default_rng(0)
    shapes = [(2, 4, frame.q_len, DIM), *[(2, 2, frame.kv_len, DIM)] * 2, (2, 4, frame.q_len, DIM)]
    arrays = [random.standard_normal(shape) for shape in shapes]
    q, k, v, grad = (torch.tensor(array) for array in arrays)
    settled = checked_frame(frame, mask, q, k)
    leaves = [array.requires_grad_() for array in (q, k, v)]
    output = engine.attention(*leaves, mask, settled, 0.5)
    expected = oracle.attention(*arrays[:3], mask, settled, 0.5)
    np.testing.assert_allclose(output.detach(), expected, atol=1e-12)
    again, lse = engine.attention_lse(*leaves, mask, settled, 0.5)
    assert torch.equal(again, output)
    np.testing.assert_allclose(lse, oracle.attention_lse(*arrays[:3], mask, settled, 0.5)[1], atol=1e-5)
    gradients = torch.autograd.grad(output, leaves, grad)
    for found, right in zip(gradients, oracle.gradients(*arrays, mask, settled, 0.5), strict=True):
        np.testing.assert_allclose(found, right, atol=1e-12)


def request(mask=CAUSAL, frame=None, dim=64, dim_v=64, dtype="bfloat16", device="cuda", **setting):
    return Request(
        "torch", mask, frame or am.Frame(8, q_start=0), 2, 8, 2, dim, dim_v, Setting(dtype, device, **setting)
    )


def test_refusals(monkeypatch):
    monkeypatch.setattr(engine, "package", lambda: PACKAGE)
    assert engine.refusal(request()) is None
    assert engine.refusal(request(device="cpu")) == "it runs on cuda, not on cpu"
    assert engine.refusal(request(dtype="float32")) == "it computes float16 and bfloat16, not float32"
    assert engine.refusal(request(dim=512, dim_v=512)).endswith("up to 256, not 512 and 512")
    assert engine.refusal(request(dim_v=32)).endswith("not 64 and 32")
    assert engine.refusal(request(transformed=True)) == "torch.func cannot look into it"
    assert "sinks(1)" in engine.refusal(request(CAUSAL & (am.window(3) | am.sinks(1))))
    monkeypatch.setattr(engine, "package", lambda: None)
    assert "not installed" in engine.refusal(request())


def test_it_is_taken_on_a_gpu_where_it_knows_the_mask(monkeypatch):
    monkeypatch.setattr(engine, "package", lambda: PACKAGE)
    documents = CAUSAL & am.documents(lengths=[4, 4])
    assert fastest(request(documents)) == "flash_attn"
    assert fastest(request(CAUSAL)) == "torch"
    assert fastest(request(documents, dtype="float32")) == "torch"
    assert fastest(request(documents, device="cpu")) != "flash_attn"
    assert choose("flash_attn", request(documents)) == "flash_attn"


def test_its_work_names_the_calls():
    documents = am.Frame(8, q_start=0)
    assert engine.work(request()).words == "1 call of flash_attn_func, window_size=(-1, 0)"
    mask = CAUSAL & am.padding([4, 8])
    assert engine.work(request(mask, documents)).words == (
        "2 calls of flash_attn_varlen_func: 2 sequences, window_size=(-1, 0) and 1 sequences, window_size=(-1, -1)"
    )


def test_without_the_package_the_engine_says_so():
    if engine.package() is None:
        assert refusal("flash_attn", request()) == "the package flash_attn is not installed, or cannot be imported"
