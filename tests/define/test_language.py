"""The language: operators build the nodes they should, and what is not in it is refused."""

import pickle

import numpy as np
import pytest
from hypothesis import given

import attnmask as am
from attnmask.define.language import Apply, Const, Index
from attnmask.errors import MaskError
from tests.strategies import frames, masks


def test_comparisons_of_terms_are_masks():
    assert (am.k <= am.q) == am.causal()
    assert (am.q >= am.k) == am.causal()
    assert (am.k < am.q) != am.causal()
    assert (am.q > am.k) == (am.k < am.q)


def test_conjunctions_flatten_so_that_grouping_does_not_matter():
    one, two, three = am.causal(), am.window(2), am.padding([3])
    assert (one & two) & three == one & (two & three)
    assert len((one & two & three).node.args) == 3


def test_double_negation_disappears():
    assert ~~am.causal() == am.causal()


def test_const_true_is_not_one():
    assert Const(True) != Const(1)
    assert hash(Const(True)) != hash(Const(1))
    assert Apply("<=", (Index("k"), Const(1))) == Apply("<=", (Index("k"), Const(1)))


def test_arithmetic_by_hand():
    # rows q = 0..3, columns k = 0..3
    cases = {
        am.same(am.q + am.k, 3): [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
        am.same((am.q - am.k) % 2, 0): [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]],
        am.same((am.k - am.q) // 2, -1): [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0]],
        abs(am.q - am.k) < 1: np.eye(4, dtype=int).tolist(),
        am.minimum(am.q, am.k) < 1: [[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]],
        am.maximum(am.q, am.k) < 1: [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        2 * am.q - 1 < am.k: [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]],
        am.where(am.q < 2, am.k, 0) < 1: [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]],
        am.where(am.q < 1, am.everything(), am.causal()): [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
        -am.q <= -am.k: [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]],
    }
    for mask, expected in cases.items():
        assert mask.dense(4)[0, 0].astype(int).tolist() == expected, mask


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (lambda: bool(am.causal()), "a mask has no truth value"),
        (lambda: am.causal() and am.window(1), "a mask has no truth value"),
        (lambda: am.q == am.k, "terms are compared for equality with same(x, y)"),
        (lambda: am.q != am.k, "terms are compared for equality with same(x, y)"),
        (lambda: bool(am.q), "a term has no truth value"),
        (lambda: 0 < am.q < 3, "a mask has no truth value"),
        (lambda: am.q + 0.5, "a term is built from whole numbers and terms"),
        (lambda: am.q + True, "a term is built from whole numbers and terms"),
        (lambda: am.q // 0, "a divisor is a positive number"),
        (lambda: am.q % am.k, "a divisor is a positive number"),
        (lambda: am.causal() & np.ones((2, 2), bool), "masks combine with masks"),
        (lambda: am.causal() & True, "masks combine with masks"),
        (lambda: am.causal() | (am.q - am.k), "masks combine with masks"),
        (lambda: am.lookup([[1, 2]], am.q), "a look-up names one position per axis of its table"),
        (lambda: am.Mask((am.q - am.k).node), "a mask is a truth value per position"),
    ],
)
def test_refusals(build, rule):
    with pytest.raises(MaskError) as caught:
        build()
    assert caught.value.rule.startswith(rule)
    assert caught.value.got
    assert caught.value.fix


def test_division_by_a_table_of_positive_numbers():
    mask = am.same(am.q // am.lookup([2, 3], am.b), 0)
    assert mask.dense(4)[:, 0, :, 0].astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]


@given(masks, masks, frames())
def test_property_operators_are_those_of_sets(one, other, frame):
    x, y = one.dense(frame), other.dense(frame)
    assert np.array_equal(*np.broadcast_arrays((one & other).dense(frame), x & y))
    assert np.array_equal(*np.broadcast_arrays((one | other).dense(frame), x | y))
    assert np.array_equal(*np.broadcast_arrays((one - other).dense(frame), x & ~y))
    assert np.array_equal((~one).dense(frame), ~x)


@given(masks)
def test_property_equality_hash_and_pickle(mask):
    copy = pickle.loads(pickle.dumps(mask))
    assert copy == mask
    assert hash(copy) == hash(mask)
    assert repr(copy) == repr(mask)


@given(masks, frames())
def test_property_shift_moves_the_mask(mask, frame):
    moved = mask.shift(q=1, k=1)
    inner = frame
    if frame.q_start + frame.q_len >= 9 or frame.kv_len >= 9:
        return  # the tables of the strategies end here
    larger = am.Frame(frame.q_len, frame.kv_len + 1, q_start=frame.q_start + 1, batch=2)
    whole = mask.dense(larger)
    assert np.array_equal(*np.broadcast_arrays(moved.dense(inner), whole[..., 1:]))
