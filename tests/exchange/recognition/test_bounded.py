"""Masks made of tables are recognised at the positions that their tables cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.exchange.recognition.bounded import bounded

WINDOW = am.window(3).dense(am.Frame(5, 9, q_start=4))[0, 0]


@pytest.mark.parametrize("mask", [am.table(WINDOW).shift(q=-4), am.read(~WINDOW, "torch.mha", q_start=4)], ids=str)
def test_queries_stand_where_the_tables_do(mask):
    assert repr(am.recognize(mask)) == "window(3)"


def test_the_tables_of_all_parts_count():
    mask = am.table(WINDOW).shift(q=-4) & am.padding(valid=[True] * 7 + [False])
    assert bounded(mask).frame == am.Frame(5, 8, q_start=4)
    assert repr(am.recognize(mask)) == "window(3) & padding(7)"


def test_keys_may_begin_later():
    mask = am.table(am.window(1).dense(6)).shift(q=-4, k=-4)
    assert bounded(mask).k_start == 4
    assert repr(am.recognize(mask)) == "window(1)"
    assert repr(am.recognize(mask & am.padding(valid=[True] * 9 + [False]))) == "window(1) & padding(5).shift(k=-4)"


@pytest.mark.parametrize(
    "mask",
    [
        am.causal(),
        am.documents(lengths=[3, 4]),
        am.graph([(0, 1)], 4),
        am.blocks([[True, False], [True, True]], 4),
        am.table(WINDOW) & am.table(WINDOW).shift(q=-20),
    ],
    ids=str,
)
def test_other_masks_have_no_bounds(mask):
    assert bounded(mask) is None


@given(st.integers(0, 6), st.integers(0, 4), st.integers(1, 6))
def test_property_a_shifted_table_is_what_it_was(q_start, left, q_len):
    frame = am.Frame(q_len, 9, q_start=q_start)
    mask = am.table(am.window(left, 1).dense(frame)[0, 0]).shift(q=-q_start)
    found = am.recognize(mask)
    assert np.array_equal(np.broadcast_to(found.dense(frame), (1, 1, q_len, 9)), mask.dense(frame))
