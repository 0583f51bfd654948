"""What the four source documents describe, as tests with numbers computed by hand.

Seed 000 (the worked example) is also tested step by step in tests/explain, seed 002's code in tests/run and
tests/exchange, and seed 003's function in tests/exchange.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

import attnmask as am

SOFTMAX_1 = math.exp(1) / (1 + math.exp(1))  # 0.7310585786...


class TestSeed000:
    """Masking in the decoder, worked by hand on two tokens."""

    q = np.array([[[[1.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]]])
    k = np.array([[[[2.0, 0.0, 0.0, 0.0], [4.0, 1.0, 0.0, 0.0]]]])
    v = np.array([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]])

    def test_without_a_mask_row_1_holds_v2(self):
        # scores A = 2, B = 4, C = 0, D = 2; over sqrt(4): 1, 2 and 0, 1; softmax: 1/(1+e), e/(1+e) in both rows
        weights = am.attention_weights(self.q, self.k)
        np.testing.assert_allclose(weights[0, 0], [[1 - SOFTMAX_1, SOFTMAX_1]] * 2, rtol=1e-15)
        output = am.attention(self.q, self.k, self.v)
        np.testing.assert_allclose(output[0, 0, 0], self.v[0, 0, 0] + 4 * SOFTMAX_1, rtol=1e-15)

    def test_with_the_mask_row_1_is_v1_alone(self):
        weights = am.attention_weights(self.q, self.k, am.causal())
        np.testing.assert_allclose(weights[0, 0], [[1.0, 0.0], [1 - SOFTMAX_1, SOFTMAX_1]], rtol=1e-15)
        output = am.attention(self.q, self.k, self.v, am.causal())
        assert np.array_equal(output[0, 0, 0], self.v[0, 0, 0])
        changed = self.v.copy()
        changed[..., 1, :] = 1e6
        assert np.array_equal(am.attention(self.q, self.k, changed, am.causal())[0, 0, 0], output[0, 0, 0])

    def test_the_mask_added_to_the_scores(self):
        assert am.lower(am.causal(), 2, "bias")[0, 0].tolist() == [[0.0, -math.inf], [0.0, 0.0]]

    def test_shifted_targets_of_i_love_it(self):
        targets = am.explain("I love it").targets
        assert [(target.context, target.token) for target in targets] == [
            (("I",), "love"),
            (("I", "love"), "it"),
            (("I", "love", "it"), None),
        ]
        assert not any(target.visible for target in targets)


class TestSeed001:
    """What masks are and where they go."""

    source = torch.tensor([[False, False, False, False], [False, False, True, True]])  # True = padding
    target = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])

    def test_the_padding_mask_from_lengths(self):
        # two sequences of 3 and 2 tokens, padded to 3: hidden = [[0, 0, 0], [0, 0, 1]]
        hidden = ~am.padding([3, 2]).dense(am.Frame(1, 3))[:, 0, 0]
        assert hidden.astype(int).tolist() == [[0, 0, 0], [0, 0, 1]]

    def test_the_sequence_mask(self):
        inf = math.inf
        bias = am.lower(am.causal(), 3, "bias")[0, 0]
        assert bias.tolist() == [[0, -inf, -inf], [0, 0, -inf], [0, 0, 0]]

    def test_their_combination(self):
        found = (am.causal() & am.padding([3, 2])).dense(3)[:, 0].astype(int).tolist()
        assert found == [[[1, 0, 0], [1, 1, 0], [1, 1, 1]], [[1, 0, 0], [1, 1, 0], [1, 1, 0]]]

    def test_padding_hides_values(self):
        # equal scores: the mean of the visible values, (3 + 6) / 2
        ones, values = np.zeros((1, 1, 3, 1)), np.array([[[[3.0], [6.0], [9.0]]]])
        assert am.attention(ones[:, :, :1], ones, values, am.padding([2])).tolist() == [[[[4.5]]]]

    def test_an_added_one_hides_nothing(self):
        """The padding matrix of the text holds a 1 where minus infinity should stand."""
        masked = np.zeros(3) + np.array([0, 0, 1])
        weights = np.exp(masked) / np.exp(masked).sum()
        assert weights[2] == pytest.approx(math.e / (2 + math.e))  # 0.576: more than before, not less
        assert [found.code for found in am.diagnose(np.array([[0.0, 0, 1]] * 3))] == ["zero-one-float"]

    @pytest.mark.parametrize("training", [True, False])
    def test_masks_stand_in_their_places_in_a_transformer(self, training):
        """Encoder: padding. Decoder: padding and sequence. Cross-attention: padding of the source."""
        torch.manual_seed(0)
        model = nn.Transformer(8, 2, 1, 1, 16, batch_first=True).train(training)
        frame = am.Frame(5, heads=2)
        decoder = am.export(am.causal(), "torch.mha", frame)["attn_mask"]
        with am.record(model) as log:
            model(
                torch.randn(2, 4, 8),
                torch.randn(2, 5, 8),
                tgt_mask=decoder,
                src_key_padding_mask=self.source,
                tgt_key_padding_mask=self.target,
                memory_key_padding_mask=self.source,
            )
        places = {call.module.split(".")[0] + "." + call.module.split(".")[-1]: call.name for call in log.calls}
        assert places == {
            "encoder.self_attn": "padding([4, 2])",
            "decoder.self_attn": "causal() & padding([5, 3])",
            "decoder.multihead_attn": "padding([4, 2])",
        }


class TestSeed003:
    """Why -1e9?"""

    def test_the_exponential_underflows_to_exactly_zero(self):
        assert np.exp(np.float32(-1e9)) == 0.0

    def test_a_wholly_masked_row_in_float32_is_uniform_over_forbidden_keys(self):
        scores = np.array([1.0, 2.0, 3.0], np.float32)
        masked = scores + np.float32(-1e9)
        assert np.array_equal(masked, np.full(3, -1e9, np.float32))  # the scores are swallowed
        weights = np.exp(masked - masked.max()) / np.exp(masked - masked.max()).sum()
        np.testing.assert_allclose(weights, 1 / 3, rtol=1e-7)

    def test_in_float16_it_is_infinite_and_the_row_is_nan(self):
        with np.errstate(over="ignore", invalid="ignore"):
            masked = np.zeros(3, np.float16) + np.float16(-1e9)
            assert np.isneginf(masked).all()
            assert np.isnan(np.exp(masked - masked.max())).all()

    def test_attention_gives_zero_there_instead(self):
        x = np.ones((1, 1, 3, 4))
        assert np.array_equal(am.attention(x, x, x, am.nothing()), np.zeros((1, 1, 3, 4)))

    def test_minus_1e4_can_be_learned_away(self):
        # a hidden key whose score grew to 1e4 has the weight of a visible key of score 0
        weights = np.exp([0.0, 1e4 - 1e4]) / np.exp([0.0, 1e4 - 1e4]).sum()
        assert weights.tolist() == [0.5, 0.5]
        assert [found.code for found in am.diagnose(np.array([[0, -1e4], [0, 0]]))] == ["weak-fill"]

    def test_a_fill_added_twice_overflows(self):
        lowest = torch.finfo(torch.float16).min
        twice = torch.tensor(lowest, dtype=torch.float16) + torch.tensor(lowest, dtype=torch.float16)
        assert twice.item() == -math.inf
