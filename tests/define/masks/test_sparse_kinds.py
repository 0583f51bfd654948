"""Dilated, strided, sinks and landmarks in more settings, and masks that differ from head to head."""

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import MaskError
from tests.define.masks.loops import assert_equal


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_dilated_and_strided(step):
    assert_equal(am.dilated(step), lambda b, h, q, k: any(q - k == step * i for i in range(-12, 13)), 11)
    assert_equal(
        am.strided(step), lambda b, h, q, k: k <= q and (k > q - step or any(q - k == step * i for i in range(12))), 11
    )


def test_dilated_window_of_three_keys():
    mask = am.dilated(2) & am.window(4)
    assert mask.dense(am.Frame(1, 9, align="end"))[0, 0, 0].nonzero()[0].tolist() == [4, 6, 8]


def test_fixed_pattern_of_sparse_transformers():
    """Blocks of l, and c summary positions at the end of each (Child et al. 2019, section 4.3)."""
    length, summaries = 4, 1
    mask = am.causal() & (am.chunked(length) | (am.k % length >= length - summaries))
    assert_equal(mask, lambda b, h, q, k: k <= q and (q // length == k // length or k in (3, 7, 11)), 12)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_streaming_attention(count):
    mask = am.causal() & (am.sinks(count) | am.window(2))
    assert_equal(mask, lambda b, h, q, k: k <= q and (k < count or q - k <= 2), 10)


def test_landmarks_everywhere():
    positions = [0, 4, 9]
    assert_equal(am.landmarks(positions), lambda b, h, q, k: q in positions or k in positions, 12)
    assert am.landmarks([4, 0, 4, 9]) == am.landmarks(positions)  # order and repetition make no difference


def test_landmarks_are_total():
    """Positions before 0 and behind the last landmark are no landmarks."""
    for place in (0, 1):
        dense = am.landmarks([place]).dense(am.Frame(6, 4, q_start=-2))[0, 0]
        assert np.array_equal(dense, np.array([[place in (q, k) for k in range(4)] for q in range(-2, 4)]))


def test_a_window_per_head():
    left = [0, 2, 5]
    mask = am.causal() & (am.q - am.k <= am.lookup(left, am.h))
    assert_equal(mask, lambda b, h, q, k: k <= q <= k + left[h], 8, heads=3)
    assert am.parse(repr(mask)) == mask


def test_another_kind_per_head():
    mask = am.where(am.lookup([True, False], am.h), am.causal(), am.window(1, 1)) & am.padding([5, 4])
    rules = [lambda q, k: k <= q, lambda q, k: abs(q - k) <= 1]
    assert_equal(mask, lambda b, h, q, k: rules[h](q, k) and k < [5, 4][b], 6, batch=2, heads=2)


def test_keys_evicted_per_sequence_and_head():
    evicted = np.random.default_rng(0).integers(0, 9, (2, 3, 7))
    mask = am.causal() & (am.q < am.lookup(evicted, am.b, am.h, am.k))
    assert_equal(mask, lambda b, h, q, k: k <= q < evicted[b, h, k], 7, batch=2, heads=3)


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda: am.dilated(0), "step=0"),
        (lambda: am.dilated(True), "step=True"),
        (lambda: am.strided(-3), "step=-3"),
        (lambda: am.sinks(-1), "count=-1"),
        (lambda: am.sinks([4, 2]), "count=Table(kind='int', shape=(2,))"),
        (lambda: am.landmarks([-1, 2]), "[-1, 2]"),
        (lambda: am.landmarks([]), "int of shape (0,)"),
        (lambda: am.landmarks([True, False]), "bool of shape (2,)"),
        (lambda: am.landmarks(3), "int of shape ()"),
    ],
)
def test_sparse_refusals(build, got):
    with pytest.raises(MaskError) as caught:
        build()
    assert caught.value.got == got
    assert caught.value.fix
