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
