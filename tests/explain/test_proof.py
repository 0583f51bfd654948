"""The proof must be able to fail: it is given computations that leak."""

import numpy as np
import pytest

import attnmask as am
from attnmask.explain import proof
from attnmask.explain.proof import prove
from attnmask.explain.steps import attend, make_inputs, make_weights
from attnmask.explain.worked import explain


def causal(tokens):
    return np.tril(np.ones((tokens, tokens), dtype=bool))


def numbers(tokens):
    rng = np.random.default_rng(3)
    return make_inputs(tokens, 4, rng), make_weights(4, rng)


def test_every_hidden_pair_is_claimed_and_holds():
    claims = prove(*numbers(4), causal(4), seed=0)
    assert [(claim.row, claim.token) for claim in claims] == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert all(claim.holds and claim.change_after == 0 for claim in claims)
    assert all(claim.token in claim.before and claim.token not in claim.after for claim in claims)


def test_without_the_mask_the_row_moves():
    claim = explain("Hello there").proof[0]
    assert claim.change_before > 0.01


def test_the_numbers_catch_a_computation_that_ignores_the_mask(monkeypatch):
    monkeypatch.setattr(proof, "attend", lambda x, w, visible: attend(x, w, np.ones_like(visible)))
    claims = prove(*numbers(3), causal(3), seed=0)
    assert not any(claim.same_bytes for claim in claims)
    assert not any(claim.holds for claim in claims)


def test_the_numbers_catch_a_trace_of_one_hidden_value(monkeypatch):
    monkeypatch.setattr(proof, "attend", lambda x, w, visible: attend(x, w, visible) + 1e-9 * x[-1, 0])
    last = [claim for claim in prove(*numbers(3), causal(3), seed=0) if claim.token == 2]
    assert last
    assert not any(claim.holds for claim in last)


def test_the_sets_catch_a_symbol_that_leaks(monkeypatch):
    monkeypatch.setattr(proof, "output_sources", lambda visible: np.ones((3, 1, 3), dtype=bool))
    assert not any(claim.holds for claim in prove(*numbers(3), causal(3), seed=0))


def test_a_broken_proof_is_told_as_broken(monkeypatch):
    monkeypatch.setattr(proof, "attend", lambda x, w, visible: attend(x, w, np.ones_like(visible)))
    told = explain("Hello there").text()
    assert "HOLDS SOMETHING OF x2" in told
    assert "it moved" in told


def test_nothing_hidden_nothing_to_prove():
    assert "there is nothing to prove" in explain("a b", am.everything()).text()


@pytest.mark.parametrize("mask", [am.window(1), am.documents([0, 0, 1, 1]), am.causal() & ~am.same(am.q, am.k)])
def test_sets_are_sound_for_other_masks(mask):
    """Whatever moves a row is in its set: tokens outside the set change no bit of it."""
    inputs, weights = numbers(4)
    example = explain("a b c d", mask, inputs=inputs, weights=weights)
    old = example.step("F").values
    for token in range(4):
        changed = inputs.copy()
        changed[token] += 1
        moved = (attend(changed, weights, example.visible) != old).any(axis=1)
        held = [token in example.sources("F", row, 0) for row in range(4)]
        assert not (moved & ~np.array(held)).any()


def test_not_a_number_in_a_hidden_value_does_not_come_through():
    inputs, weights = numbers(3)
    inputs[2] = np.nan
    assert np.isfinite(attend(inputs, weights, causal(3))[:2]).all()
