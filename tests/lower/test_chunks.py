from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.lower import chunks as chunking
from tests.strategies import frames, masks


@given(masks, frames(), st.integers(1, 9), st.integers(1, 4))
def test_property_chunks_hold_all_that_is_visible(mask, frame, rows, step):
    visible = mask.dense(frame)
    covered = 0
    for chunk in chunking.chunks(mask, frame, rows, step):
        assert chunk.first == covered
        assert chunk.k_first % step == 0
        assert chunk.k_first < chunk.k_stop <= frame.kv_len
        of_rows = visible[:, :, chunk.first : chunk.stop]
        assert of_rows[..., chunk.k_first : chunk.k_stop].sum() == of_rows.sum()
        covered = chunk.stop
    assert covered == frame.q_len


def test_a_window_needs_few_keys():
    found = chunking.chunks(am.causal() & am.window(10), am.Frame(10_000), 100, 1)
    assert max(chunk.k_stop - chunk.k_first for chunk in found) == 110


def test_rows_of_a_chunk_hold_few_scores():
    assert chunking.rows_of(8, am.Frame(1000)) == 524
    assert chunking.rows_of(8, am.Frame(100)) == 100
    assert chunking.rows_of(1000, am.Frame(2, 1_000_000)) == 1
