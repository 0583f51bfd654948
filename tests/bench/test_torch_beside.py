"""The short benchmark: what it measures, not how long that takes."""

import pytest

import attnmask as am
from attnmask.bench import torch_beside as torch_bench

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    monkeypatch.setattr(torch_bench, "SECONDS", 0.0)


def test_its_own_patterns_are_measured_forward_and_training():
    cells = list(torch_bench.bench(None, [64]))
    names = ["causal", "causal, window 8", "5 packed documents", "causal, padding"]
    assert [(cell.pattern, cell.work) for cell in cells] == [
        (name, work) for name in names for work in torch_bench.WORKS
    ]
    assert all(cell.ratio > 0 and cell.peer != torch_bench.OURS for cell in cells)
    assert cells[0].density == am.causal().density(64)


def test_every_way_computes_the_same():
    for mask, batch in torch_bench.patterns(64).values():
        q = torch.randn(batch, 2, 64, 8)
        frame = am.Frame(64, q_start=0, heads=2)
        outputs = [run(q, q, q) for run in torch_bench._ways(mask, frame, batch, "cpu").values()]
        for output in outputs[1:]:
            torch.testing.assert_close(output, outputs[0], atol=1e-5, rtol=1e-5)


def test_a_mask_of_the_user_s_own_brings_its_batch():
    (forward, _) = torch_bench.bench(am.padding([3, 64, 9]), [64], "float16")
    assert forward.density == pytest.approx(76 / 192)


def test_too_long_for_a_dense_mask(monkeypatch):
    monkeypatch.setattr(torch_bench, "LARGEST_DENSE", 10)
    cells = list(torch_bench.bench(am.window(2), [64]))
    assert cells[0].peer is cells[0].ratio is None
