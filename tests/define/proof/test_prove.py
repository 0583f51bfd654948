"""Proofs: what is proved is so in every frame, and a counter-example is one, and the smallest."""

import sys
import time

import numpy as np
import pytest
from hypothesis import assume, given, settings

import attnmask as am
from attnmask.define.tables import Table
from attnmask.errors import MaskError, MissingExtra
from attnmask.lower.arrays import evaluate
from tests.strategies import BATCH, REACH, frames, masks, terms

q, k, b, h = am.q, am.k, am.b, am.h
IDS = [0, 0, 1, 1, 1, 2]
few = settings(max_examples=max(1, settings().max_examples * 2 // 5))


def ids(*at):
    return am.lookup(IDS, *at)


EQUIVALENT = {
    "window and causal": (am.window(2), am.causal() & (q - k <= 2)),
    "window of one": (am.window(0), am.same(q, k)),
    "window of both sides": (am.window(2, 2), abs(q - k) <= 2),
    "prefix LM": (am.prefix([3, 2]) | am.causal(), am.where(k < am.lookup([3, 2], b), am.everything(), am.causal())),
    "De Morgan": (~(am.causal() & am.chunked(3)), ~am.causal() | ~am.chunked(3)),
    "chunks": (am.chunked(4), am.same(q // 4, k // 4)),
    "chunks by remainders": (am.chunked(4), (q - q % 4 <= k) & (k < q - q % 4 + 4)),
    "dilated": (am.same((q - k) % 3, 0), am.same(q % 3, k % 3)),
    "shifted": (am.causal().shift(q=3), k <= q + 3),
    "not causal": (~am.causal(), k > q),
    "keys are not negative": (k >= 0, am.everything()),
    "padding": (am.padding([3, 2]), ~(k >= am.lookup([3, 2], b))),
    "padding of one length": (am.padding(3), k < 3),
    "left padding": (am.padding([3, 2], side="left", kv_len=6), k >= 6 - am.lookup([3, 2], b)),
    "documents are symmetric": (am.documents(IDS), am.same(ids(k), ids(q))),
    "documents by their places": (am.documents(lengths=[2, 3]), ~((q < 2) - (k < 2)) & ~((k < 2) - (q < 2))),
    "table of a triangle": (am.table(np.tril(np.ones((9, 9), bool))), am.causal()),
    "minimum": (am.minimum(q, k) <= 3, (q <= 3) | (k <= 3)),
    "floor of negatives": ((k - q) // 2 >= 0, k >= q),
    "guarded look-up": (am.lookup(IDS, am.minimum(q, 5)) >= 0, am.everything()),
    "sum of a remainder": (am.same(q // 3 * 3 + q % 3, q), am.everything()),
    "divisor from a table": (am.same(q % am.lookup([2, 3], b), 0), am.where(b < 1, q % 2 < 1, q % 3 < 1)),
}


@pytest.mark.parametrize("name", EQUIVALENT)
def test_known_equivalences(name):
    one, other = EQUIVALENT[name]
    for left, right in ((one, other), (other, one)):
        assert am.equivalent(left, right)
        assert am.implies(left, right)


WRONG = {
    "window counts positions before the query": (am.window(2), am.causal() & (q - k < 2)),
    "window is narrower": (am.window(2), am.causal()),
    "chunks": (am.chunked(3), am.chunked(6)),
    "strictly causal": (am.causal(), k < q),
    "dilated": (am.same((q - k) % 2, 0), am.same((q + k) % 3, 0)),
    "padding": (am.padding([3, 2]), am.padding([3, 4])),
    "documents": (am.documents(IDS), am.documents(IDS) & am.window(1, 1)),
    "a cell of a table": (am.table(np.arange(64).reshape(8, 8) != 44), am.everything()),
    "far away": (am.causal(), am.window(7)),
    "per head": (q - k <= am.lookup([1, 2], h), q - k <= am.lookup([1, 3], h)),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_smallest_counter_example(name):
    left, right = WRONG[name]
    found = am.equivalent(left, right)
    assert isinstance(found, am.CounterExample)
    assert not found
    smallest = min(wrong_places(left, right), key=by_size)
    assert (found.b, found.h, found.q, found.k) == smallest
    assert (found.left, found.right) == tuple(evaluate(mask.node, *smallest) for mask in (left, right))


def wrong_places(left, right):
    """Where two masks differ, by brute force on a grid within all tables of WRONG."""
    length = 6 if "documents" in repr(left) else 8 if "table" in repr(left) else 9
    frame = am.Frame(length, batch=2, heads=2)
    cells = np.logical_xor(left.dense(frame), right.dense(frame))
    return [tuple(map(int, place)) for place in np.argwhere(cells)]


def test_texts():
    assert repr(am.implies(am.window(2), am.causal())) == "Proof: window(2) implies causal() at every position"
    assert repr(am.equivalent(am.padding([3, 2]), am.padding([3, 4]))) == (
        "CounterExample: batch 1, query 0, key 2: padding([3, 2]) is False, padding([3, 4]) is True"
    )
    assert repr(am.implies(am.everything(), h < 1)) == (
        "CounterExample: head 1, query 0, key 0: everything() is True, h < 1 is False"
    )
    assert repr(am.implies(am.padding([3]), am.padding([3]) & am.causal(), tables="any")) == (
        "CounterExample: batch 0, query 0, key 1: padding([3]) is True, padding([3]) & causal() is False "
        "with lookup([3], 0) = 2"
    )


def test_queries_before_the_first_key_count():
    """A frame with more queries than keys, aligned at the end, starts at a negative query."""
    found = am.equivalent(q >= 0, am.everything())
    assert (found.q, found.k) == (-1, 0)
    frame = am.Frame(5, 2, align="end")
    assert not (q >= 0).dense(frame).all()
    assert am.equivalent(am.causal() & (q >= 0), am.causal())


def test_implication_is_one_way():
    assert am.implies(am.window(2), am.causal())
    assert not am.implies(am.causal(), am.window(2))
    assert am.implies(am.nothing(), am.causal())
    assert am.implies(am.causal(), am.everything())


def test_given_tables_count_inside_their_shape_only():
    triangle = am.table([[True, False], [True, True]])
    assert am.equivalent(triangle, am.causal())
    assert am.equivalent(am.documents([0, 0]), am.everything())
    assert "inside their tables" in repr(am.equivalent(triangle, am.causal()))


def test_any_tables():
    assert am.equivalent(am.documents(IDS), am.same(ids(k), ids(q)), tables="any")
    assert not am.equivalent(am.documents([0, 0]), am.everything(), tables="any")
    assert am.implies(am.documents(IDS) & am.window(3), am.documents(IDS), tables="any")
    assert not am.implies(am.documents(IDS), am.documents([0] * 6), tables="any")
    assert am.implies(am.same(q, k), am.documents(IDS), tables="any")
    assert am.implies(am.padding([3]), k >= 0, tables="any")
    assert am.equivalent(am.padding([3]) | (am.lookup([3], b) <= k), am.everything(), tables="any")


def test_any_lengths_are_not_negative():
    assert am.implies(k < 0 - am.lookup(Table.of([2], role="length"), b), am.nothing(), tables="any")
    assert not am.implies(k < 0 - am.lookup([2], b), am.nothing(), tables="any")


def test_any_divisors_are_positive():
    divisor = am.lookup([2, 3], b)
    assert am.implies(am.same(q % divisor, 0), divisor >= 1, tables="any")
    assert not am.implies(am.causal(), divisor >= 1, tables="any")


def test_the_entries_of_a_counter_example_make_it_one():
    left, right = am.documents(IDS) & am.padding([3]), am.causal()
    found = am.implies(left, right, tables="any")
    assert found.left
    assert not found.right
    entries = {(table.shape, at): value for (table, at), value in found.entries.items()}
    assert entries[(6,), (found.q,)] == entries[(6,), (found.k,)]
    assert found.k < entries[(1,), (0,)]


@given(masks, masks, frames())
@few
def test_property_verdicts_agree_with_dense(one, other, frame):
    verdict = am.equivalent(one, other)
    assume(not isinstance(verdict, am.Undecided))
    if verdict:
        left, right = np.broadcast_arrays(one.dense(frame), other.dense(frame))
        assert np.array_equal(left, right)
    else:
        confirm(verdict, one, other)


@given(masks, terms(depth=2), terms(depth=2), frames())
@few
def test_property_implications_agree_with_dense(one, x, y, frame):
    other = one | (x <= y)
    assert isinstance(am.implies(one, other), am.Proof)
    verdict = am.implies(other, one)
    assume(not isinstance(verdict, am.Undecided))
    left, right = np.broadcast_arrays(other.dense(frame), one.dense(frame))
    if verdict:
        assert not (left & ~right).any()
    else:
        assert verdict.left
        confirm(verdict, other, one)


@given(masks, masks)
@few
def test_property_counter_examples_are_the_smallest(one, other):
    verdict = am.equivalent(one, other)
    wrong = np.logical_xor(*(mask.dense(am.Frame(REACH, batch=BATCH)) for mask in (one, other)))
    places = [tuple(map(int, place)) for place in np.argwhere(wrong)]
    if places:
        assert isinstance(verdict, am.CounterExample)
        found = (verdict.b, verdict.h, verdict.q, verdict.k)
        assert found == min(places, key=by_size) or by_size(found) < min(map(by_size, places))
        assert verdict.q >= 0


def by_size(place):
    return (sum(place), place)


def confirm(verdict, *masks):
    """The engines say the same of the position as the counter-example."""
    at = (verdict.b, verdict.h, verdict.q, verdict.k)
    found = tuple(bool(evaluate(mask.node, *at)) for mask in masks)
    assert found == (verdict.left, verdict.right)
    assert verdict.left != verdict.right


def test_what_takes_too_long_is_undecided():
    cubes = am.same(q * q * q + k * k * k, b * b * b * 3 + 42)
    verdict = am.implies(cubes & (b > 2), am.nothing(), seconds=0.2)
    assert isinstance(verdict, am.Undecided)
    assert "0.2 seconds" in verdict.reason
    with pytest.raises(MaskError) as caught:
        bool(verdict)
    assert caught.value.rule == "an undecided claim is neither true nor false"


def test_the_time_limit_holds():
    start = time.monotonic()
    noise = np.random.default_rng(0).integers(0, 5, 3000)
    am.equivalent(am.documents(noise), am.documents(noise[::-1].copy() * 3 % 7), seconds=1)
    assert time.monotonic() - start < 10


def test_large_tables_are_undecided_not_guessed():
    noise = am.documents(np.random.default_rng(0).integers(0, 99, 9000))
    verdict = am.equivalent(noise, noise)
    assert isinstance(verdict, am.Undecided)
    assert "runs" in verdict.reason
    assert am.equivalent(noise, noise & noise, tables="any")


def test_long_documents_are_decided():
    lengths = [100] * 30
    assert am.implies(am.documents(lengths=lengths), am.window(99, 99))
    assert am.implies(am.documents(lengths=lengths), am.window(98, 99)).q == 99


@pytest.mark.parametrize(
    ("build", "rule"),
    [
        (lambda: am.implies(am.causal(), np.ones((2, 2), bool)), "masks are compared with masks"),
        (lambda: am.equivalent(True, am.causal()), "masks are compared with masks"),
        (lambda: am.equivalent(am.causal(), q - k), "masks are compared with masks"),
        (lambda: am.equivalent(am.causal(), am.causal(), tables="all"), "tables are 'given' or 'any'"),
        (lambda: am.equivalent(am.padding([3, 2]), am.padding([3, 2, 5])), "masks are compared over one batch"),
        (lambda: am.implies(ids(q) < 3, ids(q - 10) < 3), "masks are compared at positions that all their tables hold"),
    ],
)
def test_refusals(build, rule):
    with pytest.raises(MaskError) as caught:
        build()
    assert caught.value.rule.startswith(rule)
    assert caught.value.fix


def test_without_z3_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "z3", None)
    with pytest.raises(MissingExtra) as caught:
        am.implies(am.causal(), am.causal())
    assert "attnmask[prove]" in caught.value.fix


def test_verdicts_are_values():
    one, other = (am.implies(am.window(2), am.causal()) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1
    found = am.implies(am.causal(), am.window(2))
    assert found == am.implies(am.causal(), am.window(2))
    assert len({found}) == 1
