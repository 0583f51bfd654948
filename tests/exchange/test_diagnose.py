"""Every mistake of the sources, named from the array alone; and silence on correct masks."""

import math

import numpy as np
import pytest
import torch

import attnmask as am
from attnmask.errors import AttnmaskError, InputError

LOWER = np.tril(np.ones((4, 4), bool))
INF = math.inf


def codes(array, framework=None):
    return [finding.code for finding in am.diagnose(array, framework)]


def test_the_masked_fill_of_seed_002():
    """Its query, key, and its triu(ones, 1) == 0 used as the cells to fill: row 0 sees only the future, row 1 nothing."""
    query, key = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    scores = query @ key.T / math.sqrt(2)
    mask = torch.triu(torch.ones_like(scores), diagonal=1) == 0
    assert mask.tolist() == [[True, False], [True, True]]
    found = am.diagnose(scores.masked_fill(mask, -INF))
    assert [finding.code for finding in found] == ["inverted-polarity", "hidden-self", "empty-row"]
    assert found[2].where == "query row 1"


def test_the_text_of_seed_002_true_on_and_below_the_diagonal_means_hidden():
    assert codes(LOWER, "torch.mha") == ["inverted-polarity", "hidden-self", "empty-row"]
    assert codes(~LOWER, "torch.mha") == []


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


def test_a_padded_batch_multiplied_by_its_mask():
    scores = np.random.default_rng(0).normal(size=(2, 1, 3, 3))
    assert codes(scores * np.array([1, 1, 0])) == ["multiplied-mask"]


@pytest.mark.parametrize(
    ("array", "framework", "expected"),
    [
        (LOWER.astype(float), None, ["zero-one-float"]),
        (LOWER.astype(np.int64), None, ["integer-mask"]),
        ((~LOWER).astype(np.float32), "tensorflow", []),
        (LOWER.astype(np.float32), "tensorflow", ["inverted-polarity", "hidden-self", "empty-row"]),
        (np.tril(np.ones((4, 4), bool), -1), None, ["hidden-self", "empty-row"]),
        (np.tril(np.ones((4, 4), bool), 1), None, ["off-by-one"]),
        (np.where(LOWER, 0, -1e4), None, ["weak-fill"]),
        (np.where(LOWER, 0, -1e9) + np.where(np.arange(4) < 3, 0, -1e9), None, ["fill-added-twice"]),
        (np.where(LOWER, 0.0, np.nan), None, ["nan"]),
        (np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool), None, ["batch-as-query"]),
        (np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]], bool), None, ["batch-as-query"]),
        (np.zeros((3, 3), bool), None, ["empty-row", "hides-everything"]),
    ],
)
def test_mistakes(array, framework, expected):
    assert codes(array, framework) == expected


def test_half_precision_overflow_of_a_fill_added_twice():
    lowest = torch.finfo(torch.float16).min
    bias = torch.zeros(4, 4, dtype=torch.float16).masked_fill(torch.from_numpy(~LOWER), lowest)
    twice = bias + torch.tensor([0, 0, 0, lowest], dtype=torch.float16)
    assert "fill-added-twice" in codes(twice)
    bfloat = torch.finfo(torch.bfloat16).min
    bias = torch.zeros(4, 4, dtype=torch.bfloat16).masked_fill(torch.from_numpy(~LOWER), bfloat)
    assert codes(bias) == []
    assert codes(bias + torch.tensor([0, 0, 0, bfloat], dtype=torch.bfloat16)) == ["fill-added-twice"]


RIGHT = [
    LOWER,
    np.where(LOWER, 0, -INF),
    np.where(LOWER, 0, -1e9),
    np.where(LOWER, 0, np.finfo(np.float32).min).astype(np.float32),
    am.window(2).dense(6),
    am.window(1, 1).dense(6),
    am.documents([0, 0, 1, 1]).dense(4),
    (am.causal() & am.documents([0, 0, 1, 1])).dense(4),
    am.padding([2, 4]).dense(4),
    (am.causal() & am.padding([2, 4])).dense(4),
    am.padding([2, 4], side="left", kv_len=4).dense(4),
    (am.prefix(2) | am.causal()).dense(5),
    am.chunked(2).dense(5),
    am.everything().dense(4),
    am.causal().dense(am.Frame(1, 6, align="end")),
    am.causal().dense(am.Frame(2, 6, align="end")),
    am.padding([3, 2]).dense(am.Frame(2, 5)),
    np.random.default_rng(0).normal(size=(4, 4)),
    np.where(LOWER, np.random.default_rng(0).normal(size=(4, 4)), -INF),
]


@pytest.mark.parametrize("array", RIGHT)
def test_correct_masks_are_met_with_silence(array):
    assert am.diagnose(array) == []


def test_findings_say_where_and_what_to_write():
    for array in (LOWER.astype(float), ~LOWER, np.tril(LOWER, -1)):
        for finding in am.diagnose(array):
            assert finding.message
            assert finding.where
            assert finding.fix
            assert finding.code in str(finding)


@pytest.mark.parametrize("array", [np.ones(3), np.array([["a", "b"]]), np.ones((0, 3)), np.float64(1)])
def test_what_is_no_mask_is_refused(array):
    with pytest.raises(InputError):
        am.diagnose(array)


def test_an_unknown_framework_is_refused():
    with pytest.raises(AttnmaskError, match=r"torch\.mha"):
        am.diagnose(LOWER, "pytorch")
