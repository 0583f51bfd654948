"""``am.plan``: the engine, the refusals, the work; decided from shapes alone."""

import json
import re

import pytest

import attnmask as am
from attnmask.errors import FrameError, InputError
from attnmask.run import request
from attnmask.run.choose import engine_names
from attnmask.run.machine import Machine

pytest.importorskip("torch")
pytest.importorskip("jax")

CAUSAL = am.causal()
WINDOW = CAUSAL & am.window(255)


@pytest.fixture(autouse=True)
def _on_avx512(monkeypatch):
    """The plans are those of one machine, whatever is under it."""
    monkeypatch.setattr(request, "here", lambda: Machine("avx512", 32))


def test_text_lists_every_engine():
    lines = am.plan(WINDOW, 4096).text().splitlines()
    assert lines[0] == f"{WINDOW}: 1 x 8 heads, 4,096 queries x 4,096 keys, float32 on cpu: engine cpu"
    assert [line.split()[0] for line in lines[-6:]] == list(engine_names())
    assert "8,127,488 of 134,217,728 pairs are visible (6.1 %)" in " ".join(lines)
    assert "flash_attn  refuses: it runs on cuda, not on cpu" in lines
    assert [line for line in lines if line.endswith("  runs")] == ["cpu         runs"]


@pytest.mark.parametrize("framework", ["torch", "jax", "torch.flex", "torch.sdpa", "flex", "jax.nn"])
def test_what_is_computed_covers_what_is_visible(framework):
    found = am.plan(WINDOW, 4096, framework)
    assert found.engine is not None
    assert found.visible == WINDOW.count(4096) * 8
    assert found.visible <= found.computed < 0.2 * found.dense
    assert found.saved > 0.8


def test_native_calls_are_named():
    words = am.plan(CAUSAL, 512, "torch.sdpa").work.words
    assert words == "1 call of scaled_dot_product_attention, is_causal without a mask"
    assert re.fullmatch(r"1 call of attnmask's kernel over \d+ blocks of 32 rows", am.plan(WINDOW, 512).work.words)
    assert am.plan(None, 512).saved == 0
    assert "with a mask of 8 x 8" in am.plan(am.window(2), 8, "torch.sdpa").work.words


def test_an_engine_that_was_asked_for_is_not_replaced():
    found = am.plan(WINDOW, 4096, "flash_attn")
    assert (found.engine, found.work, found.computed, found.saved) == (None, None, None, 0.0)
    assert found.title.endswith("refused")
    assert (
        am.plan(WINDOW, 4096, "torch.flex", training=True).refused["flex"].startswith("on the CPU it has no backward")
    )
    assert am.plan(WINDOW, 4096, "torch.flex", training=True, device="cuda").engine == "flex"
    assert am.plan(WINDOW, 4096, device="cuda", dtype="bfloat16").engine == "flex"


def test_sizes_come_from_the_mask_where_nobody_says_them():
    padded = am.plan(am.padding([3, 2]), 4)
    assert (padded.request.batch, padded.request.heads) == (2, 8)
    assert padded.visible == 8 * 4 * 5
    assert am.plan(am.same(am.h % 2, am.k % 2), 4, heads=6).request.heads == 6
    assert am.plan(am.padding([3]), 4, batch=5).request.batch == 5
    assert am.plan(CAUSAL, am.Frame(1, 9, align="end", batch=3)).request.batch == 3


def test_json_and_the_other_outputs(tmp_path):
    found = am.plan(WINDOW, 4096)
    told = json.loads(found.to_json())
    assert told["engine"] == "cpu"
    assert told["visible"] == found.visible
    assert set(told["refused"]) == set(found.refused)
    for name in ("plan.html", "plan.svg", "plan.txt"):
        found.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 200


def test_refusals():
    with pytest.raises(InputError, match=r"a framework that runs is one of numpy, torch, jax, .*; got 'keras'"):
        am.plan(CAUSAL, 8, "keras")
    with pytest.raises(FrameError, match="where the first query stands"):
        am.plan(CAUSAL, am.Frame(1, 8))
