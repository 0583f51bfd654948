"""As a batch: what the sequences of a batch do to each other because they differ."""

import pytest
import torch
from torch import nn

import attnmask as am
from attnmask.verify.checks.as_a_batch import NAME
from attnmask.verify.torch.transformers import build
from tests.verify import models
from tests.verify.zoo import zoo

IDS = torch.randint(3, 40, (3, 9), generator=torch.Generator().manual_seed(0))
PADS = torch.tensor([[1] * 9, [0] * 3 + [1] * 6, [1] * 7 + [0] * 2])


class FirstMask(models.Padded):
    def forward(self, input_ids, attention_mask=None):
        return super().forward(input_ids, attention_mask[:1].expand_as(attention_mask))


class LastPadsMovePositions(models.Padded):
    """Positions start behind the longest padding of the batch."""

    def forward(self, input_ids, attention_mask=None):
        longest = (attention_mask == 0).sum(1).max()
        return super().forward(input_ids, attention_mask) + longest.sin()


class MeanOfTheBatch(models.Attends):
    def mix(self, x):
        return super().mix(x) - x.mean(0, keepdim=True)


def checked(model, inputs, **options):
    return am.check(model, inputs, scenarios=["as given", NAME], **options)


def test_the_mask_of_the_first_row_lets_pads_of_another_be_seen():
    inputs = {"input_ids": IDS, "attention_mask": PADS}
    report = checked(FirstMask(causal=True), inputs)
    leak = report.leaks[0]
    assert (leak.sequence, leak.query, leak.key) == (1, 3, 0)
    assert report.module == "FirstMask"
    assert checked(models.Padded(causal=True), inputs).tried[-1] == (NAME, "none", "")


@pytest.mark.parametrize(
    ("model", "inputs"), [(LastPadsMovePositions, {"input_ids": IDS, "attention_mask": PADS}), (MeanOfTheBatch, IDS)]
)
def test_what_no_single_position_is_to_blame_for_names_another_sequence(model, inputs):
    report = checked(model(), inputs, **({} if model is MeanOfTheBatch else {"allowed": am.everything()}))
    leak = report.leaks[0]
    assert (leak.sequence, leak.query, leak.source) == (0, 0, 1)
    assert report.module == model.__name__
    assert "a sequence gives other outputs in the batch than alone" in report.text()


def test_one_sequence_is_no_batch():
    assert [one.name for one in checked(models.Attends(), IDS[:1]).tried] == ["as given"]


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "MixtralForCausalLM"])
def test_real_models_take_ragged_batches(name):
    inputs = {"input_ids": IDS, "attention_mask": PADS, "use_cache": False}
    report = checked(build(name).model, inputs)
    assert report.tried[-1][:2] == (NAME, "none"), report


@pytest.mark.parametrize("name", ["documents of the first row", "padding mask of the first row"])
def test_the_pair_and_the_module_in_the_zoo(name):
    entry = zoo.LEAKING[name]
    torch.manual_seed(0)
    report = checked(entry.broken(), entry.inputs, allowed=entry.allowed)
    assert (report.leaks[0].query, report.leaks[0].key) == entry.pairs[0]
    assert report.leaks[0].sequence == 1
    assert report.module == "mix (Attention)"


class NormOverTheBatch(models.Attends):
    """Statistics of the batch at each position, in training only."""

    def mix(self, x):
        mixed = super().mix(x)
        return mixed - mixed.mean(0, keepdim=True) * 0.5 if self.training else mixed


def test_what_shows_in_a_batch_in_training_only():
    report = am.check(NormOverTheBatch(), IDS, scenarios=["batch", NAME, "training mode"])
    leaking = [section for section in report.sections if section.outcome == "leak"]
    assert [section.name for section in leaking] == ["training mode, batch"]
    assert leaking[0].module == "NormOverTheBatch"
    by_definition = nn.Sequential(models.Attends(), nn.BatchNorm1d(IDS.shape[1]))  # at each position, over the batch
    assert am.check(by_definition, IDS, scenarios=["batch", "training mode"], allowed=am.everything()).ok
    dropout = nn.Sequential(models.Attends(), nn.Dropout(0.5))
    assert am.check(dropout, IDS, scenarios=["training mode"]).ok
