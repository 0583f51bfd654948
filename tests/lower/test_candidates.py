"""Candidates hold every visible pair, and are found where a mask has few."""

import numpy as np
import pytest
from hypothesis import given, settings

import attnmask as am
from attnmask.define.fit import fit
from attnmask.lower.candidates import candidates
from tests.strategies import frames, masks

GRAPH = am.graph([(0, 1), (2, 0), (3, 3), (5, 2)], 6)


def found(mask, frame):
    return candidates(mask.node, fit(mask, frame))


@pytest.mark.parametrize(
    ("mask", "pairs"),
    [
        (GRAPH, [(0, 1), (2, 0), (3, 3), (5, 2)]),
        (GRAPH & am.causal(), [(0, 1), (2, 0), (3, 3), (5, 2)]),
        (am.same(am.q, am.k), [(n, n) for n in range(6)]),
        (GRAPH | am.same(am.k, am.q), [(0, 0), (0, 1), (1, 1), (2, 0), (2, 2), (3, 3), (4, 4), (5, 2), (5, 5)]),
        (GRAPH & am.same(am.q, am.k), [(0, 1), (2, 0), (3, 3), (5, 2)]),
    ],
    ids=str,
)
def test_by_hand(mask, pairs):
    assert [divmod(code, 6) for code in found(mask, am.Frame(6)).tolist()] == pairs


def test_a_frame_that_starts_later():
    assert found(GRAPH, am.Frame(3, 6, q_start=3)).tolist() == [0 * 6 + 3, 2 * 6 + 2]


def test_a_shifted_graph():
    mask, frame = GRAPH.shift(q=2, k=1), am.Frame(3, 4, q_start=1)
    np.testing.assert_array_equal(np.flatnonzero(mask.dense(frame)), found(mask, frame))


@pytest.mark.parametrize("mask", [am.causal(), am.window(2), ~GRAPH, GRAPH | am.causal(), am.everything()], ids=str)
def test_none_where_they_may_be_anywhere(mask):
    assert found(mask & (am.q < 6), am.Frame(6)) is None


@settings(max_examples=100, deadline=None)
@given(masks, frames())
def test_random_masks_on_a_graph(mask, frame):
    size = max(frame.kv_len, (frame.q_start or 0) + frame.q_len)
    near = am.graph([(q, (5 * q + step) % size) for q in range(size) for step in (0, 1, 3)], size)
    both = (mask & near) | (near & am.same(am.q, am.k))
    assert found(both, frame) is not None
    np.testing.assert_array_equal(am.lower(both, frame, "intervals").dense(), both.dense(frame))
