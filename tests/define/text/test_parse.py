"""Notation: what is printed reads back, and other texts are refused with their column."""

import json

import numpy as np
import pytest
from hypothesis import given

import attnmask as am
from attnmask.errors import NotationError
from tests.strategies import masks


@given(masks)
def test_property_repr_reads_back(mask):
    assert am.parse(repr(mask)) == mask
    assert repr(am.parse(repr(mask))) == repr(mask)


@given(masks)
def test_property_json_reads_back(mask):
    assert am.Mask.from_json(mask.to_json()) == mask


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (am.causal() & am.padding([3, 2]), "causal() & padding([3, 2])"),
        (am.causal() | am.window(1, 2) & am.chunked(4), "causal() | window(1, 2) & chunked(4)"),
        ((am.causal() | am.window(1)) & am.chunked(4), "(causal() | window(1)) & chunked(4)"),
        (~(am.causal() & am.window(1)), "~(causal() & window(1))"),
        (am.causal() - am.window(1), "causal() & ~window(1)"),
        (am.q - (am.k - 1) <= 3, "q - (k - 1) <= 3"),
        (am.same(am.q, am.k) & (am.q < 4), "same(q, k) & (q < 4)"),
        (am.padding([2], side="left", kv_len=4), "padding([2], side='left', kv_len=4)"),
        (am.padding(np.array([2, 1])), "padding([2, 1])"),
        (am.window(None, 2), "window(None, 2)"),
        (am.causal().shift(q=2), "causal().shift(q=2)"),
        ((am.causal() | am.padding([1])).shift(q=2), "causal().shift(q=2) | padding([1])"),
        (am.lookup([[True], [False]], am.b, 0), "lookup([[True], [False]], b, 0)"),
    ],
)
def test_texts(mask, text):
    assert repr(mask) == text
    assert am.parse(text) == mask


def test_large_tables_are_packed_and_read_back():
    mask = am.documents(np.arange(1000) // 7)
    assert "packed('int', (1000,)" in repr(mask)
    assert len(repr(mask)) < 2000
    assert am.parse(repr(mask)) == mask
    assert str(mask) == "documents(<int 1000>)"


@pytest.mark.parametrize(
    ("text", "column", "fix"),
    [
        ("causal() and window(1)", 1, "Combine masks with & | ~"),
        ("not causal()", 1, "Write ~mask"),
        ("causal", 1, "Write causal()"),
        ("causal() & windoe(3)", 12, "Known are"),
        ("0 < q < 3", 1, "join comparisons with &"),
        ("causal() & (q == k)", 13, "same(x, y)"),
        ("window(2.5)", 8, "whole numbers"),
        ("__import__('os')", 1, "Known are"),
        ("causal().__class__", 1, "Known are"),
        ("window()", 1, "missing a required argument"),
        ("window(2, 0, 0)", 1, "too many positional arguments"),
        ("q / 2 < k", 1, "Known are"),
        ("padding(**q)", 1, "by its name"),
    ],
)
def test_refusals_name_the_column(text, column, fix):
    with pytest.raises(NotationError) as caught:
        am.parse(text)
    assert f"at column {column}" in caught.value.got
    assert fix in caught.value.fix


@pytest.mark.parametrize("text", ["", "causal(", "q - k", "[1, 2]", "1"])
def test_what_is_no_mask_is_refused(text):
    with pytest.raises(NotationError):
        am.parse(text)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", json.dumps({"format": "attnmask/2", "mask": "causal()"}), json.dumps({"format": "attnmask/1"})],
)
def test_broken_json_is_refused(text):
    with pytest.raises(NotationError):
        am.Mask.from_json(text)


def test_broken_packed_tables_are_refused():
    text = repr(am.documents(np.arange(1000)))
    for broken in (text.replace("(1000,)", "(999,)"), text.replace(", 'eN", ", 'e?"), text.replace("'int'", "'float'")):
        with pytest.raises(NotationError):
            am.parse(broken)
