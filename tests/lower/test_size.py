"""What cannot be held is refused with its size; what is large is warned of; nothing is killed for memory."""

import subprocess
import sys

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import LoweringError
from attnmask.lower import grid, size

HUGE = 10**12


@pytest.mark.parametrize(
    "see",
    [
        lambda: am.lower(am.causal(), HUGE, "tiles"),
        lambda: am.lower(am.everything(), HUGE, "tiles"),
        lambda: am.lower(am.window(5), HUGE, "intervals"),
        lambda: am.lower(am.causal(), HUGE, "slices"),
        lambda: am.causal().count(HUGE),
        lambda: am.causal().empty_rows(HUGE),
        lambda: am.causal().dense(HUGE),
        lambda: am.export(am.causal() & am.sinks(3), "torch.sdpa", HUGE),
        lambda: am.export(am.causal() & am.sinks(3), "torch.flex", HUGE),
        lambda: am.lower(am.dilated(2), am.Frame(10**9, 10**9), "tiles"),
    ],
)
def test_what_cannot_be_held_is_refused_with_its_size(see):
    with pytest.raises(LoweringError, match=r"held in memory; got .* GB"):
        see()


def test_a_refusal_comes_before_the_memory_is_taken():
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
import attnmask as am
try:
    am.lower(am.causal(), {HUGE}, "tiles")
except am.errors.LoweringError:
    print("refused")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "refused", found.stderr


def test_a_picture_of_what_cannot_be_counted():
    text = am.show(am.causal(), HUGE).text()
    assert text.splitlines()[0] == f"causal(): {HUGE} queries x {HUGE} keys"
    assert "■ ▨ ·" in text


@pytest.mark.parametrize("framework", ["torch.sdpa", "torch.mha", "jax.nn", "tensorflow"])
def test_large_dense_exports_warn_with_size_and_the_cheap_form(framework, monkeypatch):
    mask, frame = am.causal() & am.sinks(9) | am.same(am.q, am.k), am.Frame(30, 50, q_start=9)
    assert am.export(mask, framework, frame)
    monkeypatch.setattr(size, "LARGE", 1500)
    with pytest.warns(UserWarning, match=r"a dense mask of shape \(1, 1, 30, 50\) takes 0\.0 GB.*am\.attention"):
        am.export(mask, framework, frame)


def test_padding_alone_is_small_and_causal_is_a_flag(monkeypatch):
    monkeypatch.setattr(size, "LARGE", 1000)
    am.export(am.padding([3, 40]), "torch.sdpa", am.Frame(30, 50))
    am.export(am.causal(), "torch.sdpa", 50)


@pytest.mark.parametrize("mask", [am.causal() & am.padding([3, 40]), am.padding([3, 40]), am.everything()], ids=str)
def test_dense_by_rows_is_dense_at_once(mask, monkeypatch):
    frame = am.Frame(31, 50, q_start=9)
    expected = mask.dense(frame)
    for cells in (1, 130, 1000):
        monkeypatch.setattr(grid, "CELLS", cells)
        assert np.array_equal(mask.dense(frame), expected)
        assert mask.dense(frame).flags.writeable
        found = grid.dense_torch(mask, frame, "cpu").numpy()
        assert np.array_equal(np.broadcast_to(found, expected.shape), expected)
