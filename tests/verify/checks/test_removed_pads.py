"""Removed pads: where positions are told, pads on the left must not count; where a model counts itself, they may."""

import pytest
import torch

import attnmask as am
from attnmask.verify.checks.removed_pads import NAME
from attnmask.verify.torch.transformers import build
from tests.verify import models

IDS = torch.randint(3, 40, (1, 9), generator=torch.Generator().manual_seed(0))


class Places(models.Padded):
    """Adds positions: those that are told, or counted from the first token on, pads or not."""

    def __init__(self):
        super().__init__(causal=True)
        self.place = torch.nn.Embedding(64, 16)

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        places = torch.arange(input_ids.shape[1])[None] if position_ids is None else position_ids
        return super().forward(input_ids, attention_mask) + self.standing(places)

    def standing(self, places):
        return self.place(places)


class CountsBeside(Places):
    """Uses the positions that are told, and counts tokens beside."""

    def standing(self, places):
        return self.place(places) + self.place(torch.arange(places.shape[1]))


class CountsOnly(Places):
    """Takes positions and does not use them: they tell it nothing."""

    def standing(self, places):
        return self.place(torch.arange(places.shape[1]))


def test_pads_on_the_left_are_counted_although_positions_are_told():
    report = am.check(CountsBeside(), {"input_ids": IDS}, scenarios=[NAME])
    assert report.leaks[0][:2] == (3, 0)
    assert report.module == "CountsBeside"
    assert "although positions are told" in report.text()


@pytest.mark.parametrize("model", [Places, CountsOnly])
def test_a_model_that_counts_itself_is_right(model):
    assert am.check(model(), {"input_ids": IDS}, scenarios=[NAME]).ok


def test_positions_that_are_given_are_those_of_the_tokens():
    inputs = {"input_ids": IDS, "position_ids": torch.arange(9)[None]}
    assert am.check(Places(), inputs, scenarios=[NAME]).ok
    assert am.check(CountsBeside(), inputs, scenarios=[NAME]).verdict == "leak"


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "Gemma2ForCausalLM", "BertModel"])
def test_real_models_do_not_count_pads_where_positions_are_told(name):
    """In float64, pads of Gemma2 that see nothing are NaN: its softmax in float32 takes the fill for -inf."""
    built = build(name)
    assert am.check(built.model, built.inputs, allowed=built.relations["input_ids"].allowed, scenarios=[NAME]).ok
