"""Recording: the masks that attention calls really use, through whichever API."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from attnmask.errors import MissingExtra

CAUSAL = ~nn.Transformer.generate_square_subsequent_mask(5).isinf()
PADS = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
X = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
Q = torch.randn(2, 4, 5, 8, generator=torch.Generator().manual_seed(1))


def recorded(call, model=None):
    with am.record(model) as log, torch.no_grad():
        call()
    return log.calls


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: F.scaled_dot_product_attention(Q, Q, Q), "everything()"),
        (lambda: F.scaled_dot_product_attention(Q, Q, Q, is_causal=True), "causal()"),
        (lambda: F.scaled_dot_product_attention(Q, Q, Q, attn_mask=CAUSAL), "causal()"),
        (lambda: F.scaled_dot_product_attention(Q, Q, Q, attn_mask=~PADS[:, None, None]), "padding([5, 3])"),
        (
            lambda: F.scaled_dot_product_attention(Q, Q, Q, attn_mask=torch.zeros(5, 5).masked_fill(~CAUSAL, -1e9)),
            "causal()",
        ),
        (lambda: F.scaled_dot_product_attention(Q, Q[:, :2], Q[:, :2], is_causal=True, enable_gqa=True), "causal()"),
        (lambda: F.scaled_dot_product_attention(Q.double(), Q.double(), Q.double(), is_causal=True), "causal()"),
        (lambda: F.scaled_dot_product_attention(Q[0], Q[0], Q[0], is_causal=True), "causal()"),
        (lambda: F.scaled_dot_product_attention(Q, Q, Q, is_causal=True, dropout_p=0.5), "causal()"),
        (lambda: torch.softmax((Q @ Q.mT).masked_fill(~CAUSAL, -torch.inf), -1) @ Q, "causal()"),
        (lambda: F.dropout(torch.softmax((Q @ Q.mT).masked_fill(~CAUSAL, -1e9), -1), 0.5) @ Q, "causal()"),
        (lambda: torch.einsum("bhqk,bhkd->bhqd", F.softmax(Q @ Q.mT, dim=-1), Q), "everything()"),
        (lambda: torch.softmax((Q @ Q.mT).masked_fill(~CAUSAL, -1e9).bfloat16(), -1).to(torch.float32) @ Q, "causal()"),
    ],
)
def test_single_calls(call, text):
    calls = recorded(call)
    assert [str(found.mask) for found in calls] == [text]
    assert calls[0].name == text


def test_q_len_and_kv_len_differ():
    calls = recorded(lambda: F.scaled_dot_product_attention(Q[:, :, :2], Q, Q, is_causal=True))
    assert calls[0].mask == am.causal()
    assert calls[0].frame == am.Frame(2, 5, q_start=0)  # torch's is_causal starts at the top left
    lower_right = am.causal().dense(am.Frame(2, 5, align="end"))
    calls = recorded(lambda: F.scaled_dot_product_attention(Q[:, :, :2], Q, Q, attn_mask=torch.from_numpy(lower_right)))
    assert calls[0].frame == am.Frame(2, 5, q_start=3)
    assert np.array_equal(calls[0].mask.dense(calls[0].frame), calls[0].visible)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention_on_every_path(training, need_weights):
    module = nn.MultiheadAttention(8, 2, batch_first=True).train(training)
    calls = recorded(
        lambda: module(X, X, X, attn_mask=~CAUSAL, key_padding_mask=PADS, need_weights=need_weights), module
    )
    assert [(found.name, found.api) for found in calls] == [("causal() & padding([5, 3])", "torch.mha")]


@pytest.mark.parametrize("training", [True, False])
def test_transformer_encoder_and_its_fast_path(training):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = nn.TransformerEncoder(layer, 2).train(training)
    place = ["layers.0.self_attn", "layers.1.self_attn"] if training else ["layers.0", "layers.1"]
    calls = recorded(lambda: module(X, mask=~CAUSAL), module)
    assert [(found.module, found.name) for found in calls] == [(name, "causal()") for name in place]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own nested tensors a prototype
        calls = recorded(lambda: module(X, src_key_padding_mask=PADS), module)
    assert [found.name for found in calls] == ["padding([5, 3])"] * 2


def test_training_with_a_backward_pass_records_each_call_once():
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    with am.record(module) as log:
        module(X, mask=~CAUSAL, src_key_padding_mask=PADS).sum().backward()
    assert [found.name for found in log.calls] == ["causal() & padding([5, 3])"] * 2


def test_a_softmax_that_is_no_attention_is_not_recorded():
    assert recorded(lambda: F.softmax(nn.Linear(8, 30)(X), -1).argmax(-1)) == []


def test_what_the_model_does_not_what_it_says():
    """The padding mask is built, and lost on its way."""

    class Loses(nn.Module):
        def forward(self, x, padding):
            return F.scaled_dot_product_attention(x, x, x, attn_mask=None)

    module = Loses()
    assert recorded(lambda: module(Q, PADS), module)[0].mask == am.everything()


def test_findings_of_calls():
    weights = recorded(lambda: (torch.softmax(Q @ Q.mT, -1) * CAUSAL) @ Q)[0]
    assert [finding.code for finding in weights.findings] == ["masked-after-softmax"]
    assert weights.mask == am.causal()
    fill = recorded(lambda: torch.softmax((Q @ Q.mT).masked_fill(CAUSAL, -1e9), -1) @ Q)[0]
    assert "uniform-row" in [finding.code for finding in fill.findings]
    assert fill.visible[0, 0, 4].all()  # the last row attends to everything equally
    weak = recorded(lambda: torch.softmax(Q @ Q.mT + torch.full((5, 5), -10.0).triu(1), -1) @ Q)[0]
    assert weak.mask == am.everything()  # an added -10 hides nothing


SCORES = Q @ Q.mT
FUTURE = torch.ones(5, 5, dtype=torch.bool).triu(1)
RELATIVE = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(2))
SWIN = torch.zeros(5, 5).masked_fill(FUTURE, -100.0)  # made before the recording


def sdpa(bias):
    return F.scaled_dot_product_attention(Q, Q, Q, attn_mask=bias)


WEAK = {
    "added": lambda: torch.softmax(SCORES + SWIN, -1) @ Q,
    "added the other way round": lambda: torch.softmax(SWIN + SCORES, -1) @ Q,
    "added in place": lambda: torch.softmax(SCORES.clone().add_(SWIN), -1) @ Q,
    "filled in": lambda: torch.softmax(SCORES.masked_fill(FUTURE, -100.0), -1) @ Q,
    "chosen": lambda: torch.softmax(torch.where(FUTURE, -100.0, SCORES), -1) @ Q,
    "chosen the other way round": lambda: torch.softmax(torch.where(CAUSAL, SCORES, -100.0), -1) @ Q,
    "of a multiplied mask": lambda: torch.softmax(SCORES + (1 - CAUSAL.float()) * -100.0, -1) @ Q,
    "added, then a bias": lambda: torch.softmax((SCORES + SWIN) + RELATIVE, -1) @ Q,
    "added to a bias": lambda: torch.softmax(SCORES + (RELATIVE + SWIN), -1) @ Q,
    "added, then cast": lambda: torch.softmax((SCORES + SWIN).double(), -1).float() @ Q,
    "added to windows": lambda: torch.softmax((SCORES.view(1, 2, 4, 5, 5) + SWIN[None, None, None]).view(2, 4, 5, 5), -1) @ Q,
    "products and sum at once": lambda: torch.softmax(torch.baddbmm(SWIN.expand(8, 5, 5), Q.reshape(8, 5, 8), Q.reshape(8, 5, 8).mT), -1) @ Q.reshape(8, 5, 8),
    "SDPA": lambda: sdpa(SWIN),
    "SDPA, with a bias": lambda: sdpa(RELATIVE + SWIN),
    "SDPA, made inside": lambda: sdpa(torch.zeros(5, 5).masked_fill(FUTURE, -100.0)[None, None].expand(2, 1, 5, 5) + RELATIVE),
    "SDPA, in bfloat16": lambda: F.scaled_dot_product_attention(*[Q.bfloat16()] * 3, attn_mask=SWIN.bfloat16()),
}  # fmt: skip


@pytest.mark.parametrize("name", WEAK)
def test_a_fill_that_scores_overcome_is_named_with_the_mask_that_was_meant(name):
    (call,) = recorded(WEAK[name])
    assert call.mask == am.everything()
    (found,) = call.findings
    assert found.code == "weak-fill"
    assert "a fill of -100 is overcome by a score difference of 100" in found.message
    assert found.fix.endswith("the mask that was meant is causal()")
    assert found.where.startswith("the scores of this call, ")


def test_weak_fills_in_the_log():
    assert "! weak-fill: a fill of -100" in repr(recorded_log(WEAK["added"]))


def recorded_log(call):
    with am.record(None) as log, torch.no_grad():
        call()
    return log


STRONG = {
    "minus infinity": lambda: torch.softmax(SCORES.masked_fill(FUTURE, -torch.inf), -1) @ Q,
    "-1e9": lambda: torch.softmax(SCORES + torch.zeros(5, 5).masked_fill(FUTURE, -1e9), -1) @ Q,
    "-100 replaced by minus infinity": lambda: torch.softmax((SCORES + SWIN).masked_fill(FUTURE, -torch.inf), -1) @ Q,
    "a bias": lambda: torch.softmax(SCORES + RELATIVE, -1) @ Q,
    "a bias of 0 and -1": lambda: torch.softmax(SCORES + FUTURE * -1.0, -1) @ Q,
    "-100 somewhere else": lambda: torch.softmax(SCORES, -1) @ (Q + torch.zeros(5, 8).masked_fill(Q[0, 0] > 0, -100.0)),
}


@pytest.mark.parametrize("name", STRONG)
def test_other_numbers_are_no_weak_fill(name):
    assert [found.code for call in recorded(STRONG[name]) for found in call.findings] == []


def test_a_pattern_without_a_name_is_left_unsaid():
    hidden = torch.rand(9, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    x = torch.randn(1, 1, 9, 4)
    (call,) = recorded(lambda: F.scaled_dot_product_attention(x, x, x, torch.zeros(9, 9).masked_fill(hidden, -50.0)))
    (found,) = call.findings
    assert found.fix == "Use -inf, or replace the score instead of adding to it"


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_swin_adds_a_hundred(attention):
    transformers = pytest.importorskip("transformers")
    config = transformers.SwinConfig(
        image_size=16,
        patch_size=2,
        embed_dim=8,
        depths=[2],
        num_heads=[2],
        window_size=4,
        attn_implementation=attention,
    )
    model = transformers.SwinModel(config).eval()
    calls = recorded(lambda: model(torch.randn(1, 3, 16, 16)), model)
    assert [[found.code for found in call.findings] for call in calls] == [[], ["weak-fill"]]
    assert calls[1].meant.shape == (4, 1, 16, 16)
    windows = calls[1].meant[:, 0]
    assert windows[0].all()
    assert [int(window.sum()) for window in windows] == [256, 128, 128, 64]  # regions of 8 + 8 and of 4 positions


def test_a_model_that_runs_alone_runs_recorded():
    """Reshaped, strided, empty and integer tensors of 0 and one negative number."""

    def call():
        mask = SWIN[None, None].expand(2, 3, 5, 5)
        rows = (mask + torch.zeros(2, 3, 5, 5)).transpose(2, 3).reshape(6, 25)[:, ::2]
        empty = torch.zeros(0, 5) + torch.zeros(0, 5)
        return rows.sum() + empty.sum() + (torch.tensor([[0, -100]]) + 1).sum()

    expected = call()
    results = []
    assert recorded(lambda: results.append(call())) == []
    assert results == [expected]


def test_weights_that_a_cast_loses_were_not_masked():
    scores = SCORES.masked_fill(FUTURE, -20.0) - 20.0 * FUTURE
    (call,) = recorded(lambda: torch.softmax(scores, -1).half().float() @ Q)
    assert call.mask == am.everything()


def test_tensors_without_memory_or_numbers_are_let_through():
    def call():
        sparse = torch.eye(3).to_sparse()
        return sparse * 2, sparse + sparse, torch.softmax(torch.ones(1, 3, 0), -1) @ torch.ones(1, 0, 3)

    assert recorded(call) == []


def test_alibi_hides_nothing_but_the_future():
    """Its numbers fall by one with each position: far enough, the weights are 0, and no mask is meant."""
    distance = torch.arange(1500)[:, None] - torch.arange(1500)
    bias = torch.where(distance >= 0, -distance.float(), -torch.inf)
    x = torch.randn(1, 1, 1500, 4)
    assert recorded(lambda: F.scaled_dot_product_attention(x, x, x, attn_mask=bias))[0].name == "causal()"
    assert recorded(lambda: torch.softmax(x @ x.mT + bias, -1) @ x)[0].name == "causal()"
    fill = bias.masked_fill(distance < 0, -1e9)
    assert recorded(lambda: F.scaled_dot_product_attention(x, x, x, attn_mask=fill))[0].name == "causal()"


def test_sinks_in_an_extra_column_are_not_keys():
    def call():
        scores = torch.cat([(Q @ Q.mT).masked_fill(~CAUSAL, -torch.inf), torch.zeros(2, 4, 5, 1)], -1)
        return torch.softmax(scores, -1)[..., :-1] @ Q

    assert recorded(call)[0].mask == am.causal()


def test_log_as_text_and_nothing_left_behind():
    from torch.nn.modules import module as modules

    module = nn.MultiheadAttention(8, 2, batch_first=True)
    with am.record(module) as log:
        module(X, X, X)
        with pytest.raises(AssertionError):
            module(X[..., :3], X, X)
    assert repr(log) == "(model): everything() via torch.mha, 5 queries x 5 keys"
    assert not modules._global_forward_hooks
    assert not modules._global_forward_pre_hooks
    with am.record(module) as empty:
        pass
    assert repr(empty) == "no attention call was seen"


def test_without_torch_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'attnmask\[torch\]'"):
        am.record(None)


def weights(axis=-1):
    return (Q @ Q.mT).masked_fill(~CAUSAL, -torch.inf).softmax(axis)


def by_hand():
    scores = (Q @ Q.mT).masked_fill(~CAUSAL, -torch.inf)
    exponentials = (scores - scores.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def renormalised():
    kept = (Q @ Q.mT).softmax(-1) * CAUSAL
    return kept / kept.sum(-1, keepdim=True)


def noisy(made):
    return weights() * (made(weights()) > 0.5) / 0.5


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (weights, []),
        (renormalised, []),
        (lambda: noisy(torch.rand_like), []),
        (lambda: noisy(lambda like: torch.rand(like.shape)), []),
        (lambda: noisy(lambda like: torch.empty_like(like).uniform_()), []),
        (lambda: torch.where(torch.rand_like(Q @ Q.mT) > 0.5, weights(), 0.0), []),
        (lambda: (Q @ Q.mT).softmax(-1) * CAUSAL, ["masked-after-softmax"]),
        (lambda: (Q @ Q.mT).softmax(-1).masked_fill(~CAUSAL, -torch.inf), ["filled-after-softmax"]),
        (lambda: (Q @ Q.mT).softmax(-1).masked_fill(~CAUSAL, -1e9), ["filled-after-softmax"]),
        (lambda: weights(-2), ["softmax-over-queries"]),
        (by_hand, ["softmax-by-hand"]),
    ],
)
def test_what_is_odd_about_weights_that_are_written_out(made, found):
    calls = recorded(lambda: made() @ Q)
    assert [str(call.mask) for call in calls] == ["causal()"]
    assert [finding.code for finding in calls[0].findings] == found


def test_a_softmax_over_other_axes_is_no_attention():
    assert recorded(lambda: Q.softmax(-2).mT @ Q) == []  # linear attention: keys normalised over positions
    assert recorded(lambda: Q.exp() @ torch.ones(8, 2)) == []


def test_scores_of_nan_are_told_and_hide_nothing():
    scores = (Q @ Q.mT).masked_fill(~CAUSAL, -torch.inf)
    scores[0, 0, 2, 1] = torch.nan
    calls = recorded(lambda: scores.softmax(-1) @ Q)
    assert [str(call.mask) for call in calls] == ["causal()"]
    assert [finding.code for finding in calls[0].findings] == ["nan-scores"]


@pytest.mark.parametrize("length", [12, 3])
def test_attention_says_its_mask_itself(length):
    q, k = torch.randn(1, 2, length, 8), torch.randn(1, 2, 12, 8)
    mask, frame = am.causal() & am.window(3), am.Frame(length, 12, align="end")
    calls = recorded(lambda: am.attention(q, k, k, mask, frame=frame))
    assert [(call.api, call.mask) for call in calls] == [("attnmask", mask)]
    assert (calls[0].frame.q_len, calls[0].frame.kv_len, calls[0].frame.q_start) == (length, 12, 12 - length)
    assert calls[0].name == "window(3)" + (", q_start=9" if length == 3 else "")
    assert np.array_equal(calls[0].visible[0, 0], mask.dense(frame)[0, 0])
    assert len(recorded(lambda: F.scaled_dot_product_attention(Q, Q, Q))) == 1  # and others are seen again


def test_a_call_that_fails_leaves_nothing_behind():
    with pytest.raises(am.errors.AttnmaskError), am.record(None):
        am.attention(torch.randn(1, 2, 3, 8), torch.randn(1, 2, 12, 8), torch.randn(1, 2, 12, 8), am.causal())
    from attnmask.run.watching import WATCHERS

    assert WATCHERS == []
