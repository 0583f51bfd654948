"""NumPy in blocks of rows gives what the oracle gives of all pairs at once, and holds no array of q_len x kv_len."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.fit import fit
from attnmask.lower.visible import visible_runs
from attnmask.run.contract import checked_frame
from attnmask.run.engines.numpy import engine, oracle
from attnmask.run.request import Request
from tests.run.kinds import EXAMPLES, NAMES
from tests.strategies import frames, masks


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(engine, "ROWS", 4)
    monkeypatch.setattr(engine, "SCORES", 60)


def call(mask, frame, dim_v=3):
    fitted = fit(mask, frame)
    batch, heads = fitted.batch if fitted.batch > 1 else 2, fitted.heads if fitted.heads > 1 else 4
    kv_heads = heads // 2 if heads % 2 == 0 else 1
    random = np.random.default_rng(0)
    shapes = [(heads, frame.q_len, 4), (kv_heads, frame.kv_len, 4), (kv_heads, frame.kv_len, dim_v)]
    q, k, v = (random.standard_normal((batch, *shape)) for shape in shapes)
    return q, k, v, checked_frame(frame, mask, q, k)


def assert_oracle(mask, frame):
    q, k, v, settled = call(mask, frame)
    for dtype, tolerance in ((np.float64, 1e-13), (np.float32, 1e-6)):
        arrays = [array.astype(dtype) for array in (q, k, v)]
        output, lse = engine.attention_lse(*arrays, mask, settled, 0.5)
        right = oracle.attention_lse(*arrays, mask, settled, 0.5)
        assert output.dtype == lse.dtype == dtype
        np.testing.assert_allclose(output, right[0], rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(lse, right[1], rtol=tolerance, atol=tolerance)
        assert ((lse == -np.inf) == np.broadcast_to(mask.empty_rows(frame), lse.shape)).all()


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_blocks_are_the_oracle(mask, frame):
    assert_oracle(mask, frame)


@given(masks, frames())
def test_blocks_of_random_masks_are_the_oracle(mask, frame):
    assert_oracle(mask, frame)


@given(masks, frames(), st.integers(0, 2))
def test_so_are_blocks_between_bounds_of_the_keys(mask, frame, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "visible_runs", lambda mask, frame: None)
        assert_oracle(mask, frame)


def test_half_precision_and_whole_numbers():
    q, k, v, settled = call(am.causal(), am.Frame(9))
    output, lse = engine.attention_lse(*(array.astype(np.float16) for array in (q, k, v)), am.causal(), settled, 0.5)
    assert (output.dtype, lse.dtype) == (np.float16, np.float32)
    whole = [np.round(array).astype(int) for array in (q, k, v)]
    output, lse = engine.attention_lse(*whole, am.causal(), settled, 0.5)
    assert output.dtype == lse.dtype == np.float64
    np.testing.assert_allclose(output, oracle.attention(*whole, am.causal(), settled, 0.5))


def test_long_windows_need_little_memory(monkeypatch):
    monkeypatch.undo()
    mask = (am.causal() & am.window(64)) | am.sinks(4)
    q, k, v = np.random.default_rng(0).standard_normal((3, 1, 2, 8192, 16)).astype(np.float32)
    visible_runs.cache_clear()
    tracemalloc.start()
    output = am.attention(q, k, v, mask)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 40e6  # all pairs of a head are 67 million
    part = am.Frame(16, 8192, q_start=8000)
    right = oracle.attention(q[:, :, 8000:8016], k, v, mask, checked_frame(part, mask, q[:, :, 8000:8016], k), 0.25)
    np.testing.assert_allclose(output[:, :, 8000:8016], right, atol=1e-6)
    found = engine.work(Request("numpy", mask, am.Frame(8192), 1, 2, 2, 16, 16))
    assert found.computed < 2 * 8192 * 200
    assert found.words == "the formula for 128 blocks of up to 64 rows, over the keys they see"
