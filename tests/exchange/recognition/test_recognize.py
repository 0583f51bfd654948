"""Recognising: the expression found is exactly the array, and as short as it can be."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.kind import kinds
from attnmask.errors import MaskError
from tests.strategies import frames, masks

EXAMPLES = [pair for name in kinds() for pair in importlib.import_module(f"attnmask.define.masks.{name}").EXAMPLES]


@given(masks, frames())
def test_property_what_is_recognised_is_the_array(mask, frame):
    array = mask.dense(frame)
    found = am.recognize(array, q_start=frame.q_start)
    assert np.array_equal(np.broadcast_to(found.dense(frame), array.shape), array)


@given(st.integers(0, 2**16 - 1))
def test_property_any_4x4_array_is_recognised_exactly(bits):
    array = np.array([bits >> place & 1 for place in range(16)], bool).reshape(4, 4)
    assert np.array_equal(am.recognize(array).dense(4)[0, 0], array)


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=str)
def test_examples_of_every_kind_are_recognised_exactly(mask, frame):
    start = frame.q_start or 0
    array, seen = mask.dense(frame), am.Frame(frame.q_len, frame.kv_len, q_start=start)
    found = am.recognize(array, q_start=start)
    assert np.array_equal(np.broadcast_to(found.dense(seen), array.shape), array)


@pytest.mark.parametrize(
    ("mask", "frame", "text"),
    [
        (am.causal(), am.Frame(6), "causal()"),
        (am.causal(), am.Frame(2, 6, align="end"), "causal()"),
        (am.causal(), am.Frame(2, 6, align="start"), "causal()"),
        (am.causal(), am.Frame(1, 6, align="end"), "everything()"),
        (am.window(2), am.Frame(6), "window(2)"),
        (am.window(5), am.Frame(6), "causal()"),
        (am.window(1, 1), am.Frame(6), "window(1, 1)"),
        (am.causal() & am.padding([4, 6]), am.Frame(6), "causal() & padding([4, 6])"),
        (
            am.causal() & am.padding([4, 6], side="left", kv_len=6),
            am.Frame(6),
            "causal() & padding([4, 6], side='left', kv_len=6)",
        ),
        (am.padding([4, 6]), am.Frame(2, 6), "padding([4, 6])"),
        (am.causal() & am.documents(lengths=[2, 4]), am.Frame(6), "causal() & documents(lengths=[2, 4])"),
        (am.documents([0, 1, 0, 1]), am.Frame(4), "documents([0, 1, 0, 1])"),
        (am.causal() & am.chunked(2), am.Frame(5), "causal() & chunked(2)"),
        (am.prefix(3) | am.causal(), am.Frame(6), "prefix(3) | causal()"),
        (~am.causal(), am.Frame(6), "~causal()"),
        (am.everything(), am.Frame(3, 4), "everything()"),
        (am.nothing(), am.Frame(3, 4), "nothing()"),
    ],
)
def test_texts(mask, frame, text):
    assert repr(am.recognize(mask.dense(frame))) == text


def test_batch_and_heads_collapse_where_nothing_varies():
    array = np.broadcast_to(np.tril(np.ones((4, 4), bool)), (3, 2, 4, 4))
    assert am.recognize(array) == am.causal()


def test_what_has_no_short_form_stays_a_table():
    array = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 0]], bool)
    assert repr(am.recognize(array)).startswith("table(")


def test_masks_made_of_tables_are_recognised_and_symbolic_ones_kept():
    assert am.recognize(am.table(np.tril(np.ones((5, 5), bool)))) == am.causal()
    assert repr(am.recognize(am.trace(lambda b, h, q, k: (k <= q) & (q - k < 4)))) == "window(3)"
    assert (
        am.recognize(am.documents(lengths=[10**6, 10**6])).node.name == "documents"
    )  # no array of 10^12 cells is made


def test_numbers_are_refused():
    with pytest.raises(MaskError, match="a mask array is boolean"):
        am.recognize(np.ones((2, 2), int))


def test_lists_are_arrays_too_and_ragged_ones_are_refused():
    assert am.recognize([[True, False], [True, True]]) == am.causal()
    with pytest.raises(MaskError, match="all rows of a table have one shape"):
        am.recognize([[True], [True, True]])


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4)])
def test_other_numbers_of_axes_are_refused(shape):
    with pytest.raises(MaskError, match="a mask array is \\(q_len, kv_len\\) or"):
        am.recognize(np.ones(shape, bool))
