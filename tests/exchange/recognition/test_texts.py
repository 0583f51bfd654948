"""What arrays are called: kinds, their unions and conjunctions, and what each function of ``members`` is needed for."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.kind import kinds
from attnmask.exchange.recognition.members import MEMBERS

b, h, q, k = am.b, am.h, am.q, am.k
CAUSAL = am.causal()
IMAGES = am.images([-1, 0, 0, 0, -1, 1, 1, -1, -1, 2, 2, -1, -1])
TABLE3 = [[True, False, True], [False, True, False], [True, True, True]]
LOWER3 = [[True, False, False], [False, True, False], [True, True, True]]
END = am.Frame(5, 13, align="end")

TEXTS = [
    (CAUSAL & (am.sinks(2) | am.window(3)), 13, "causal() & (sinks(2) | window(3))"),
    (CAUSAL & (am.sinks(2) | am.window(3)), END, "sinks(2) | window(3)"),  # no query stands among the sinks
    (am.chunked(4) | CAUSAL, 13, "causal() | chunked(4)"),
    (~(am.chunked(4) | CAUSAL), 13, "~(causal() | chunked(4))"),
    (am.prefix(4) | CAUSAL, 13, "prefix(4) | causal()"),
    (am.prefix([4, 2]) | CAUSAL, 13, "prefix([4, 2]) | causal()"),
    (CAUSAL & (am.window(2) | am.landmarks([4])), 13, "causal() & (window(2) | landmarks([4]))"),
    (CAUSAL | IMAGES, 13, f"causal() | {IMAGES!r}"),
    ((CAUSAL | IMAGES) & am.window(3, 3), 13, f"window(3) | {IMAGES!r}"),  # no image is cut
    (
        CAUSAL & am.documents([0, 0, 1, 0, 1, 1]),
        6,
        "causal() & documents([0, 0, 1, 0, 1, 1])",
    ),  # no tree: it has no branch
    (am.dilated(2) & am.window(4), 13, "dilated(2) & window(4)"),
    (am.dilated(2) & am.window(4), END, "dilated(2) & window(4)"),
    (am.dilated(3) & CAUSAL, 13, "causal() & dilated(3)"),
    (am.sinks(2) | (am.dilated(2) & am.window(4)), 13, "sinks(2) | dilated(2) & window(4)"),
    (am.documents(lengths=[5, 8]) & am.window(2), 13, "window(2) & documents(lengths=[5, 8])"),
    (am.window(3) & am.padding([9, 13, 5]), 13, "window(3) & padding([9, 13, 5])"),
    (CAUSAL & am.padding([9, 13]) & (am.sinks(1) | am.window(2)), 13, "padding([9, 13]) & (sinks(1) | window(2))"),
    (CAUSAL & ~am.same(q - k, 1), 13, "causal() & ~same(q - k, 1)"),
    (CAUSAL & ~am.padding(3), 13, "causal() & padding(10, side='left', kv_len=13)"),
    (am.strided(4), 16, "strided(4)"),
    (am.strided(4), am.Frame(6, 16, align="end"), "strided(4)"),
    (am.landmarks([0, 5]) | am.window(1, 1), 13, "window(1, 1) | landmarks([0, 5])"),
    (am.landmarks([[3], [7]]), 13, "landmarks([[3], [7]])"),
    (am.grid([4, 5], 3), 20, "grid([4, 5], 3)"),
    (am.grid([4, 5], [2, 3], edge="clip"), 20, "grid([4, 5], [2, 3], edge='clip')"),
    (am.grid([6, 6], 3, dilation=2), 36, "grid([6, 6], 3, 2)"),
    (am.grid([2, 3, 4], [1, 3, 2]), am.Frame(12, 24, q_start=8), "grid([2, 3, 4], [1, 3, 2])"),
    (CAUSAL & am.grid([4, 5], 3), 20, "causal() & grid([4, 5], 3)"),
    (am.axial([3, 4, 2], [0, 2]), 24, "axial([3, 4, 2], [0, 2])"),
    (am.tree([-1, 0, 0, 1, 1, 2, -1, 6, 6, 8, 3, 3]), 12, "tree([-1, 0, 0, 1, 1, 2, -1, 6, 6, 8, 3, 3])"),
    (am.tree([-1, 0, 0, 1], offset=9), am.Frame(4, 13, q_start=9), "tree([-1, 0, 0, 1], offset=9)"),
    (am.blocks(TABLE3, 4), 12, f"blocks({TABLE3}, 4)"),
    (CAUSAL & am.blocks(TABLE3, 4), 12, f"causal() & blocks({LOWER3}, 4)"),
    ((q - k <= am.lookup([1, 2, 4], h)) & CAUSAL, 13, "causal() & (q - k <= lookup([1, 2, 4], h))"),
    ((q - k <= am.lookup([1, 2, 4], b)) & CAUSAL, 13, "causal() & (q - k <= lookup([1, 2, 4], b))"),
    (am.same((q - k) % am.lookup([2, 3], h), 0), 13, "same((q - k) % lookup([2, 3], h), 0)"),
    (CAUSAL | am.same(k, 12), am.Frame(12, 13, q_start=0), "causal() | same(k, 12)"),  # add_bias_kv of torch
    (am.window(2) | am.same(q - k, 6) | am.same(q - k, 9), 13, "window(2) | same(q - k, 6) | same(q - k, 9)"),
    (am.window(1, 1) | am.same(q, 4), 13, "window(1, 1) | same(q, 4)"),
    (am.chunked(3) & (q < 8), 13, "chunked(3) & (q < 8)"),
    (am.window(0, None), 9, "window(0, None)"),
    (CAUSAL & ~am.graph([(5, 2), (7, 2)], 13), 13, "causal() & ~graph([[5, 2], [7, 2]], 13)"),
    (CAUSAL | am.graph([(2, 5)], 13), 13, "causal() | graph([[2, 5]], 13)"),
    (am.graph([(0, 3), (7, 1), (20, 4)], 24), 24, "graph([[0, 3], [7, 1], [20, 4]], 24)"),
    (am.documents([0, 1, 0, 0, 1, 1, 0, 1]), 8, "documents([0, 1, 0, 0, 1, 1, 0, 1])"),
]


def recognised(mask, frame):
    frame = am.Frame.of(frame)
    return am.recognize(mask.dense(frame), q_start=frame.q_start)


@pytest.mark.parametrize(("mask", "frame", "text"), TEXTS, ids=str)
def test_names(mask, frame, text):
    assert repr(recognised(mask, frame)) == text


DISTANCES = [distance in (0, 1, 2, 4, 5, 9, 10, 14, 17) for distance in range(20)]
PER_HEAD = am.Frame(16, heads=3)
LONGER = [
    (am.lookup(DISTANCES, am.maximum(q - k, 0)) & CAUSAL, 20),
    (am.where(am.same(h, 0), am.window(3), am.where(am.same(h, 1), am.chunked(4), CAUSAL)), PER_HEAD),
    (am.where(am.same(h, 0), am.grid([4, 4], 3), am.dilated(3)), PER_HEAD),
]


@pytest.mark.parametrize(("mask", "frame"), LONGER, ids=str)
def test_what_has_no_single_name_is_said_by_distance_or_head(mask, frame):
    found = recognised(mask, frame)
    assert "lookup" in repr(found)
    assert "table(" not in repr(found)
    assert np.array_equal(found.dense(frame), mask.dense(frame))


LISTED = [
    "axial",
    "blocks",
    "causal",
    "chunked",
    "dilated",
    "documents",
    "everything",
    "graph",
    "grid",
    "images",
    "landmarks",
    "nothing",
    "padding",
    "prefix",
    "random_blocks",
    "sinks",
    "strided",
    "tree",
    "window",
]
EXAMPLES = [
    pair
    for name in kinds()
    if name in LISTED
    for pair in importlib.import_module(f"attnmask.define.masks.{name}").EXAMPLES
    if pair[1].q_len >= 12
]


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=str)
def test_examples_of_listed_kinds_are_never_tables(mask, frame):
    assert "table(" not in repr(recognised(mask, frame))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_every_member_is_needed_for_some_name(member, monkeypatch):
    monkeypatch.setattr(
        "attnmask.exchange.recognition.search.MEMBERS", [other for other in MEMBERS if other is not member]
    )
    pairs = [(mask, frame, text) for mask, frame, text in TEXTS]
    pairs += [(mask, frame, None) for mask, frame in LONGER]
    assert any(_is_named_otherwise(*pair) for pair in pairs)


def _is_named_otherwise(mask, frame, text):
    found = repr(recognised(mask, frame))
    return found != text if text else "table(" in found


PARTS = st.sampled_from(
    [
        CAUSAL,
        am.sinks(2),
        am.window(3),
        am.window(2, 4),
        am.dilated(3),
        am.chunked(5),
        am.padding(11),
        am.documents(lengths=[4, 9]),
        am.landmarks([6]),
    ]
)


@given(PARTS, PARTS, st.sampled_from("&|"), st.sampled_from([am.Frame(13), END, am.Frame(6, 13, q_start=3)]))
def test_property_two_parts_come_back_exactly_and_without_a_table(one, other, op, frame):
    mask = one & other if op == "&" else one | other
    found = recognised(mask, frame)
    assert np.array_equal(found.dense(frame), mask.dense(frame))
    assert "table(" not in repr(found)
    assert am.parse(repr(found)) == found
