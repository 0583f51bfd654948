"""Situations in which one thing is varied: an id, a size, an implementation, a cache, checkpointing, lengths that were not tried."""

import pytest
import torch
import transformers
from torch import nn

import attnmask as am
from tests.verify import models

IDS = torch.arange(1, 10)[None]
RARE = 37


class OpensForOneId(models.Attends):
    """Every output is told whether a rare id is anywhere."""

    def __init__(self):
        super().__init__()
        self.detector = Detector()

    def forward(self, ids):
        return self.proj(self.detector(self.mix(self.embed(ids)), ids))


class Detector(nn.Module):
    def forward(self, x, ids):
        return x + (ids == RARE).any(1)[:, None, None]


def test_every_id_finds_the_one_that_opens_a_path():
    report = am.check(OpensForOneId(), IDS, scenarios=["every id"])
    assert report.verdict == "leak"
    assert report.leaks[0][:2] == (0, 1)
    assert f"id {RARE}, where it is hidden, moves outputs" in report.text()
    assert report.module == "detector (Detector)"
    assert am.check(models.Attends(), IDS, scenarios=["every id"]).ok


class Gated(nn.Module):
    """A hidden position is seen where it is very large."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def forward(self, x):
        loud = torch.relu(x.abs() - self.at).amax(1, keepdim=True)
        return x.cumsum(1) + loud


@pytest.mark.parametrize(("at", "verdict"), [(50.0, "leak"), (torch.inf, "no leak seen")])
def test_larger_inputs_open_gates(at, verdict):
    states = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    assert am.check(Gated(at), states).ok
    assert am.check(Gated(at), states, scenarios=["larger inputs"]).verdict == verdict


def llama():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=50
    )
    return transformers.LlamaForCausalLM(config)


class ForgetsInEager(transformers.LlamaForCausalLM):
    """Eager attention is given no mask."""

    def forward(self, input_ids, attention_mask=None, **more):
        length = input_ids.shape[1]
        if self.config._attn_implementation == "eager":
            attention_mask = torch.zeros(1, 1, length, length, dtype=self.dtype)
        return super().forward(input_ids, attention_mask=attention_mask, **more)


class OtherScaleInEager(transformers.LlamaForCausalLM):
    """Causal both ways, and not the same."""

    def forward(self, input_ids, **more):
        result = super().forward(input_ids, **more)
        if self.config._attn_implementation == "eager":
            result.logits = result.logits * 1.1
        return result


def test_implementations_give_one_answer():
    assert am.check(llama(), {"input_ids": IDS}, scenarios=["implementations"]).ok
    report = am.check(ForgetsInEager(llama().config), {"input_ids": IDS}, scenarios=["implementations"])
    assert report.verdict == "leak"
    assert report.sections[0].name == "attention: eager"
    report = am.check(OtherScaleInEager(llama().config), {"input_ids": IDS}, scenarios=["implementations"])
    assert report.sections[0].name == "implementations"
    assert "though none of them leaks" in report.text()


class LooksAheadAgain(transformers.LlamaForCausalLM):
    """Without a mask where layers are computed again."""

    def forward(self, input_ids, **more):
        if self.is_activation_checkpointing and self.training:
            more["attention_mask"] = torch.zeros(1, 1, *[input_ids.shape[1]] * 2)
        return super().forward(input_ids, **more)


def test_gradient_checkpointing():
    assert am.check(llama(), {"input_ids": IDS}, scenarios=["gradient checkpointing"]).ok
    leaking = LooksAheadAgain(llama().config)
    report = am.check(leaking, {"input_ids": IDS}, scenarios=["gradient checkpointing"])
    assert report.verdict == "leak"
    assert not leaking.is_activation_checkpointing


class ForgetsWithoutCache(models.Attends):
    def forward(self, ids, use_cache=True):
        self.cached = use_cache
        return super().forward(ids)

    def visible(self, length):
        return super().visible(length) | torch.tensor(not self.cached)


def test_without_cache():
    report = am.check(ForgetsWithoutCache(), {"ids": IDS})
    assert [section.name for section in report.sections if section.outcome == "leak"] == ["without cache"]


class Blocks(models.Attends):
    block_size = 0

    def __init__(self):
        super().__init__()
        self.block_size = 64


def test_sizes_that_no_length_crossed_are_told():
    assert "block_size=64: write lengths=[65]" in am.check(Blocks(), IDS).text()
    assert "block_size" not in am.check(Blocks(), IDS, lengths=[65]).text()


class OverflowsInHalf(models.Attends):
    def mix(self, x):
        return super().mix(x) * (torch.inf if x.dtype == torch.float16 else 1.0)


def test_a_variation_that_gives_no_numbers_is_not_tried():
    report = am.check(OverflowsInHalf(), IDS, scenarios=["as given", "precision"])
    assert report.ok, report
    assert "float16" in {one.name for one in report.tried if one.outcome == "untested"}
