"""The lists of blocks show every visible pair once and no hidden one, and rows that see alike share a block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attnmask as am
from attnmask.run.engines.cpu import blocks as planning
from attnmask.run.engines.cpu.blocks import blocks_of
from tests.run.kinds import EXAMPLES, NAMES
from tests.strategies import frames, masks

CAUSAL = am.causal()


def assert_exact(mask, frame, size):
    found = blocks_of.__wrapped__(mask, frame, size)
    np.testing.assert_array_equal(found.dense(frame.q_len, frame.kv_len), mask.dense(frame), err_msg=f"{mask} {frame}")
    assert found.visible == mask.count(frame) <= found.computed
    for rows in found.rows.reshape(-1, found.rows.shape[2] * size):
        assert sorted(rows[rows >= 0]) == list(range(frame.q_len)), "each row has one place"
    assert (found.start < found.stop).all()
    assert found.seen.all(), "an entry that nobody sees would be computed"


@pytest.mark.parametrize("size", [2, 16, 32])
@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind(mask, frame, size):
    assert_exact(mask, frame, size)


@settings(max_examples=100, deadline=None)
@given(masks, frames(), st.sampled_from([1, 2, 4, 32]))
def test_random_masks(mask, frame, size):
    assert_exact(mask, frame, size)


def occupied(mask, frame, size=32):
    found = blocks_of(mask, am.Frame.of(frame), size)
    return found.visible / found.computed


@pytest.mark.parametrize(
    ("mask", "least"),
    [
        (CAUSAL, 0.98),
        (CAUSAL & am.window(255), 0.88),
        (CAUSAL & am.window(1023) & am.dilated(4), 0.85),
        (CAUSAL & am.documents(lengths=[300, 212] * 8), 0.8),
        (am.grid([64, 64], 13), 0.45),
    ],
    ids=str,
)
def test_most_of_what_is_computed_is_visible(mask, least):
    assert occupied(mask, 4096) >= least


def test_rows_are_reordered_only_where_it_helps(monkeypatch):
    plain = blocks_of(CAUSAL & am.window(255), am.Frame(1024), 32).rows
    np.testing.assert_array_equal(plain.reshape(-1), np.arange(1024))
    dilated, grid = CAUSAL & am.window(255) & am.dilated(8), am.grid([32, 32], 5)
    assert (np.diff(blocks_of(dilated, am.Frame(1024), 32).rows[0, 0, 0]) == 8).all()
    better = [occupied(mask, 1024) for mask in (dilated, grid)]
    monkeypatch.setattr(planning, "patches", lambda *_: [])
    blocks_of.cache_clear()
    assert all(
        new > 1.3 * old for new, old in zip(better, [occupied(mask, 1024) for mask in (dilated, grid)], strict=True)
    )
    blocks_of.cache_clear()


def test_size_follows_the_structure_and_not_the_square():
    found = blocks_of(CAUSAL & am.window(255), am.Frame(1 << 17), 32)
    assert sum(array.nbytes for array in (found.rows, found.offsets, found.start, found.stop, found.seen)) < 5e6
