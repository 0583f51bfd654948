"""Mistakes named from arrays alone; silence on correct masks."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.errors import AttnmaskError, InputError
from attnmask.exchange.diagnosis import fills, mistakes
from tests.exchange.diagnosis.diagnosis_arrays import RIGHT, WRONG, bias

LOWER = np.tril(np.ones((4, 4), bool))
INF = math.inf


def codes(array, framework=None):
    return [finding.code for finding in am.diagnose(array, framework)]


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arrays(name):
    array, expected, framework = WRONG[name]
    assert codes(array, framework) == expected


@pytest.mark.parametrize("name", RIGHT)
def test_right_arrays_are_met_with_silence(name):
    array, framework = RIGHT[name] if isinstance(RIGHT[name], tuple) else (RIGHT[name], None)
    assert am.diagnose(array, framework) == []


@pytest.mark.parametrize(
    ("listed", "place"),
    [(module, place) for module in (fills, mistakes) for place in range(len(module.MISTAKES))],
    ids=lambda value: value.__name__.rpartition(".")[2] if hasattr(value, "__name__") else str(value),
)
def test_without_any_one_of_the_functions_some_array_is_read_otherwise(monkeypatch, listed, place):
    left = [mistake for index, mistake in enumerate(listed.MISTAKES) if index != place]
    monkeypatch.setattr(listed, "MISTAKES", left)
    assert any(codes(wrong.array, wrong.framework) != wrong.codes for wrong in WRONG.values())


def test_every_code_is_in_the_table_and_said_once():
    """The order is that of the lists, and no code comes twice."""
    seen = {code for wrong in WRONG.values() for code in wrong.codes}
    assert len(seen) == len(fills.MISTAKES) + len(mistakes.MISTAKES)


def test_findings_say_where_and_what_to_write():
    for wrong in WRONG.values():
        for finding in am.diagnose(wrong.array, wrong.framework):
            assert all((finding.message, finding.where, finding.fix))
            assert finding.code in str(finding)
            assert len({finding.code for finding in am.diagnose(wrong.array, wrong.framework)}) == len(wrong.codes)


def the(code, array, framework=None):
    return next(finding for finding in am.diagnose(array, framework) if finding.code == code)


def test_a_weak_fill_says_when_it_is_overcome_and_what_remains():
    found = the("weak-fill", bias(LOWER, -100))
    assert found.message == (
        "a fill of -100 is overcome by a score difference of 100, where a hidden key weighs as much as a visible one; at "
        "equal scores exp(-100) = 3.7e-44 of its weight remains, and a wholly hidden row is not hidden"
    )
    assert found.where == "(0, 1), (0, 2), (0, 3) and 3 more"
    assert "= 10^-4343 of its weight" in the("weak-fill", bias(LOWER, -1e4)).message
    assert the("weak-fill", bias(LOWER, -1e4)).message.endswith("; in bfloat16 it is -9984")


def test_what_a_weak_fill_is_said_to_do_is_what_softmax_does():
    scores = torch.tensor([[0.0, 100.0], [0.0, 0.0]], dtype=torch.float64)
    weights = torch.softmax(scores + torch.tensor([[0.0, -100.0], [0.0, -100.0]]), -1)
    torch.testing.assert_close(weights[0], torch.tensor([0.5, 0.5], dtype=torch.float64))
    torch.testing.assert_close(weights[1, 1], torch.tensor(math.exp(-100), dtype=torch.float64))


def test_a_finite_fill_says_what_becomes_of_an_empty_row_and_where_it_is_infinite():
    assert the("finite-fill", bias(LOWER, -1e9, np.float32)).message == (
        "a fill of -1e+09 hides only while another key of its row is visible: a wholly hidden row gets the mean of all "
        "values, forbidden ones included; it is -inf in float16, where that row is NaN"
    )
    message = the("finite-fill", bias(LOWER, np.finfo(np.float32).min)).message
    assert message.endswith("it is -inf in float16 and bfloat16, where that row is NaN")


@pytest.mark.parametrize(
    ("framework", "words"),
    [
        (None, "refused by some frameworks"),
        ("torch.sdpa", "scaled_dot_product_attention refuses"),
        ("torch.mha", "MultiheadAttention refuses"),
        ("tensorflow", "TensorFlow refuses"),
    ],
)
def test_what_a_framework_does_with_integers(framework, words):
    assert words in the("integer-mask", LOWER.astype(np.int64), framework).message


def test_an_inverted_mask_is_named():
    assert the("inverted-polarity", ~am.window(1, 1).dense(9)).message == (
        "what is hidden is window(1, 1), and what is visible is not a mask: True and False are exchanged"
    )
    large = the("inverted-polarity", ~am.documents(lengths=[700, 400]).dense(1100)).message
    assert large.startswith("what is hidden is chunked(100) at every 7th position")


def test_alignment_is_said():
    found = the("off-by-one", np.tri(4, 9, 6, dtype=bool))
    assert (
        found.where == "row i sees key i + 6, the first diagonal above the main one if the first query is at q_start=5"
    )
    assert the("transposed", np.triu(np.ones((3, 7), bool), 4)).where.endswith("q_start=4")


def test_the_masked_fill_of_seed_002():
    """Its query, key, and its triu(ones, 1) == 0 used as the cells to fill: row 0 sees only the future, row 1 nothing."""
    query, key = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    scores = query @ key.T / math.sqrt(2)
    mask = torch.triu(torch.ones_like(scores), diagonal=1) == 0
    assert mask.tolist() == [[True, False], [True, True]]
    found = am.diagnose(scores.masked_fill(mask, -INF))
    assert [finding.code for finding in found] == ["inverted-polarity", "hidden-self", "empty-row"]
    assert found[2].where == "query row 1"


def test_the_multiplied_mask_of_seed_002():
    scores = np.array([[12.02, 16.26], [27.58, 37.48]])
    found = am.diagnose(scores * np.tril(np.ones((2, 2))))
    assert [finding.code for finding in found] == ["multiplied-mask"]
    assert found[0].where == "(0, 1)"


def test_the_padding_matrix_of_seed_001_holds_a_one_that_is_added():
    sequence = np.triu(np.full((4, 4), -INF), 1)
    padding = np.zeros((4, 4))
    padding[3, 3] = 1
    assert codes(sequence + padding) == ["added-one"]
    assert codes(padding) == ["zero-one-float"]


RELATIVE = st.sampled_from([am.causal(), am.window(1), am.window(1, 1), am.window(2, 2), am.window(3)])
FILLS = st.sampled_from([-10.0, -100.0, -1e4, -1e9, -1e30])


@given(RELATIVE, st.integers(4, 9), st.integers(0, 5))
def test_property_right_in_every_number_of_queries_and_keys_and_wrong_inside_out(mask, q_len, more):
    """At the end of the keys, where a cache puts the queries."""
    visible = mask.dense(am.Frame(q_len, q_len + more, align="end"))
    assert am.diagnose(visible) == []
    if (~visible).any(-1).sum() >= 2:
        assert codes(~visible)[0] == "inverted-polarity"


@given(RELATIVE, FILLS, st.integers(4, 7), st.integers(0, 4))
def test_property_a_finite_fill_is_found_whatever_it_hides(mask, fill, q_len, more):
    visible = mask.dense(am.Frame(q_len, q_len + more, align="end"))
    expected = [] if visible.all() else ["weak-fill" if fill > -1e5 else "finite-fill"]
    assert codes(bias(visible, fill)) == expected


@pytest.mark.parametrize("fill", [-INF, -1e9, -100.0, None])
def test_thousands_of_positions_take_less_than_a_second(fill):
    scores = np.random.default_rng(0).normal(size=(4096, 4096)).astype(np.float32)
    array = scores if fill is None else np.where(np.tri(4096, dtype=bool), np.float32(0), np.float32(fill))
    start = time.process_time()
    am.diagnose(array)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("array", [np.ones(3), np.array([["a", "b"]]), np.ones((0, 3)), np.float64(1)])
def test_what_is_no_mask_is_refused(array):
    with pytest.raises(InputError):
        am.diagnose(array)


def test_an_unknown_framework_is_refused():
    with pytest.raises(AttnmaskError, match=r"torch\.mha"):
        am.diagnose(LOWER, "pytorch")


def test_read_refuses_a_weak_fill_and_says_what_it_is():
    words = "got a fill of -100: a score difference of 100 shows what it should hide. Read array == 0"
    for framework in ("torch.sdpa", "torch.mha"):
        with pytest.raises(AttnmaskError, match=words):
            am.read(bias(LOWER, -100), framework)
