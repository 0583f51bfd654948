"""On a GPU: every engine that takes a call gives what the oracle gives, forward and backward."""

import math

import numpy as np
import pytest

import attnmask as am
from attnmask.run import calls, request
from attnmask.run.choose import refusal
from attnmask.run.engines.flex import torch_compiled
from attnmask.run.engines.numpy import oracle
from attnmask.run.machine import Machine
from attnmask.run.request import request_of

torch = pytest.importorskip("torch")

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

CAUSAL, N, DIM = am.causal(), 300, 32
CASES = [
    (am.everything(), am.Frame(N)),
    (CAUSAL, am.Frame(N)),
    (CAUSAL, am.Frame(40, N, align="end")),
    (CAUSAL & am.window(63), am.Frame(N)),
    (am.window(20, 30), am.Frame(N)),
    (CAUSAL & am.documents(lengths=[100, 150, 50]), am.Frame(N)),
    (CAUSAL & am.padding([N, 120]), am.Frame(N)),
    (CAUSAL & am.padding([N, 0]), am.Frame(N)),
    (CAUSAL & am.padding([N, 120], side="left", kv_len=N), am.Frame(N)),
    (am.padding([N, 17]), am.Frame(40, N)),
    (CAUSAL | am.prefix(64), am.Frame(N)),
    (CAUSAL & (am.sinks(4) | am.window(31)), am.Frame(N)),
    (am.q < N // 2, am.Frame(N)),
    (am.same(am.h % 2, am.k % 2), am.Frame(N)),
]


def arrays(frame, dtype, grad=True):
    random = np.random.default_rng(0)
    shapes = [(2, 4, frame.q_len, DIM), *[(2, 2, frame.kv_len, DIM)] * 2, (2, 4, frame.q_len, DIM)]
    on_device = [torch.tensor(random.standard_normal(shape), dtype=dtype, device="cuda") for shape in shapes]
    return [array.requires_grad_(grad and place < 3) for place, array in enumerate(on_device)]


def as_doubles(tensors):
    return [tensor.detach().double().cpu().numpy() for tensor in tensors]


def settled(frame, mask):
    """The frame as the contract settles it for these shapes."""
    batch = None if "padding" in repr(mask) else 2
    return am.Frame(frame.q_len, frame.kv_len, q_start=frame.q_start or 0, batch=batch, heads=4)


@on_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("engine", [None, "torch", "flex", "flash_attn"])
@pytest.mark.parametrize(("mask", "frame"), CASES, ids=str)
def test_output_and_gradients(mask, frame, engine, dtype):
    q, k, v, grad = arrays(frame, dtype)
    in_frame = settled(frame, mask)
    if engine is not None:
        reason = refusal(engine, request_of("torch", mask, in_frame, {"q": q, "k": k, "v": v}))
        if reason is not None:
            pytest.skip(reason)
    output = am.attention(q, k, v, mask, frame=frame, engine=engine)
    results = as_doubles((output, *torch.autograd.grad(output, (q, k, v), grad)))
    doubles, scale = as_doubles((q, k, v, grad)), 1 / math.sqrt(DIM)
    expected = [
        oracle.attention(*doubles[:3], mask, in_frame, scale),
        *oracle.gradients(*doubles, mask, in_frame, scale),
    ]
    tolerance = 1e-2 if dtype == torch.float32 else 60 * torch.finfo(dtype).eps  # float32 may be computed in TF32
    for found, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(found, right, atol=tolerance * max(1.0, np.abs(right).max()), rtol=0)
    empty = np.broadcast_to(mask.empty_rows(in_frame), output.shape[:3])
    assert not results[0][empty].any()
    assert not results[1][empty].any()


@on_gpu
def test_masks_that_change_with_every_batch_compile_once():

    torch_compiled._compiled.cache_clear()
    q, k, v, _ = arrays(am.Frame(2048), torch.bfloat16)
    for cut in (500, 1000, 1500):
        mask = CAUSAL & am.documents([[0] * cut + [1] * (2048 - cut)] * 2)
        am.attention(q, k, v, mask, engine="flex").sum().backward()
    assert torch_compiled._compiled.cache_info().misses == 1


def test_tensors_that_are_not_on_the_cpu_take_no_cpu_kernel():
    """Shapes alone, on the meta device: one call without a mask where all rows see one run of keys, else a dense mask."""
    q = torch.ones(2, 2, 512, 16, device="meta")
    for mask in (CAUSAL, CAUSAL & am.window(7), am.padding([100, 100]), CAUSAL & am.padding([9, 512])):
        assert am.attention(q, q, q, mask).device.type == "meta"


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU."""

    is_cuda, device = True, torch.device("cuda")


OnGpu.__module__ = "torch"


def test_the_engine_is_chosen_by_the_device(monkeypatch):
    """Without a GPU: the same shapes and mask are one call on the CPU and another one on a GPU."""
    monkeypatch.setattr(request, "here", lambda: Machine("avx512", 32))
    calls._SETTLED.clear()
    q, mask = torch.ones(1, 1, 2048, 16), CAUSAL & am.window(63)
    for array, engine in ((q, "cpu"), (q.as_subclass(OnGpu), "flex"), (q, "cpu")):
        module, _, _ = calls.settled(mask, None, None, q=array, k=array, v=array)
        assert module.__name__ == f"attnmask.run.engines.{engine}.engine"
