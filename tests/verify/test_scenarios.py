"""Leaks that show in some situations only, and right models that look as if they leaked."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from attnmask.errors import InputError
from attnmask.verify.session import scenarios
from tests.verify import models

IDS = torch.randint(1, 40, (1, 9), generator=torch.Generator().manual_seed(1))


class DropsItsMask(models.Attends):
    """Of sequences whose length divides 16: a kernel for whole tiles that forgets the mask."""

    def visible(self, length):
        return super().visible(length) | torch.tensor(length % 16 == 0)


class OffInTraining(models.Attends):
    def visible(self, length):
        return super().visible(length) | torch.tensor(self.training)


class NormOverTime(models.Embedded):
    """BatchNorm counts over the batch and over time, in training only."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(16)

    def mix(self, x):
        return self.norm(x.mT).mT


class MeanOfTheBatch(models.Attends):
    def mix(self, x):
        return super().mix(x) - x.mean(0, keepdim=True)


class Remembers(models.Attends):
    def __init__(self):
        super().__init__()
        self.last = torch.zeros(16)

    def mix(self, x):
        mixed = super().mix(x) + self.last
        self.last = x[0, -1].detach()
        return mixed


class KnowsTheEnd(models.Attends):
    """Adds an embedding of the total length."""

    def mix(self, x):
        return super().mix(x) + torch.sin(torch.tensor(float(x.shape[1])))


class PadsMovePositions(models.Attends):
    """Positions count the ids that are not 0."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(40, 16, padding_idx=0)
        self.place = nn.Embedding(64, 16)

    def forward(self, ids):
        places = (ids != 0).flip(1).cumsum(1).flip(1)
        return self.proj(self.mix(self.embed(ids) + self.place(places)))


@pytest.mark.parametrize(
    ("model", "name", "options"),
    [
        (DropsItsMask, "length 16", {}),
        (OffInTraining, "training mode", {}),
        (NormOverTime, "training mode", {}),
        (MeanOfTheBatch, "batch", {}),
        (Remembers, "state", {}),
        (KnowsTheEnd, "truncation", {}),
        (PadsMovePositions, "special ids", {"scenarios": "thorough"}),
    ],
)
def test_leaks_that_show_in_one_situation(model, name, options):
    report = am.check(model(), IDS, **options)
    assert [section.name for section in report.sections if section.outcome == "leak"][:1] == [name]
    assert report.verdict == "leak"
    assert report.leaks


def test_the_leak_of_another_sequence_names_it_and_the_module():
    report = am.check(MeanOfTheBatch(), IDS, scenarios=["batch"])
    assert "query 0 depends on sequence 1 of the batch" in report.text()
    assert report.module == "MeanOfTheBatch"


@pytest.mark.parametrize(
    "name", ["lengths", "batch", "training mode", "state", "truncation", "special ids", "precision"]
)
def test_a_right_model_is_right_in_every_situation(name):
    report = am.check(models.Attends(), IDS, scenarios=[name])
    assert {one.outcome for one in report.tried} <= {"none", "untested"}, report.text()
    assert report.ok == any(one.outcome == "none" for one in report.tried)


def test_what_could_not_be_tried_is_never_right():
    report = am.check(lambda x: np.cumsum(x, 1), np.ones((1, 6, 3)), scenarios=["special ids"])
    assert not report.ok
    assert report.verdict == "untested: no situation could be tried"


def test_every_file_of_checks_is_a_scenario_and_is_told():
    report = am.check(models.Attends(), IDS, scenarios="thorough")
    assert report.ok, report.text()
    files = {name: file.LEVEL for name, file in scenarios().items()}
    assert set(files.values()) == {"quick", "thorough"}
    told = {one.name for one in report.tried}
    assert {"as given", "batch", "state", "training mode", "truncation", "float64", "bfloat16"} <= told
    assert "also tried, no leak seen: " in report.text()
    assert "not tried: cache: the model takes no past_key_values" in report.text()


def test_lengths_can_be_given():
    report = am.check(DropsItsMask(), IDS, scenarios=["lengths"], lengths=[5, 32])
    assert [one.name for one in report.tried] == ["length 5", "length 32"]
    assert report.verdict == "leak"


@pytest.mark.parametrize("asked", ["everything", [], ["lenghts"]])
def test_unknown_scenarios_are_refused(asked):
    with pytest.raises(InputError, match="scenarios are 'quick', 'thorough', or some of as given, padding, "):
        am.check(models.Attends(), IDS, scenarios=asked)


class PaddedOffByOne(nn.Module):
    """Rows of padding are NaN, and the others see one token ahead."""

    def __init__(self, diagonal=2):
        super().__init__()
        self.diagonal = diagonal
        self.embed = nn.Embedding(10, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, ids):
        hidden = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).triu(self.diagonal)
        x = self.embed(ids)
        return self.attention(x, x, x, attn_mask=hidden, key_padding_mask=ids == 0)[0]


LEFT_PADDED = torch.tensor([[0, 0, 0, 5, 9, 3, 7, 2]])


def test_rows_that_are_nan_are_told_and_the_others_judged():
    report = am.check(PaddedOffByOne(), LEFT_PADDED, scenarios=["as given"])
    assert report.verdict == "leak"
    assert report.leaks[0].query == report.leaks[0].key - 1 >= 2
    assert "output rows 0, 1 are NaN as given, from attention (MultiheadAttention) on" in report.text()
    right = am.check(PaddedOffByOne(1), LEFT_PADDED, scenarios=["as given"])
    assert right.ok, right.text()


def test_a_model_of_nan_alone_cannot_be_judged():
    report = am.check(lambda x: x * np.nan, np.ones((1, 5, 2)))
    assert report.verdict.startswith("no number")
    assert not report.ok


class Shifted(models.Attends):
    """The first output is a start token, whatever the input is."""

    def mix(self, x):
        return F.pad(super().mix(x)[:, :-1], (0, 0, 1, 0))


def test_one_constant_row_does_not_silence_the_others():
    report = am.check(Shifted(), IDS)
    assert report.ok, report.text()
    assert "output row 0 is the same whatever the input is" in report.text()


class WeakFill(models.Attends):
    fill = -10.0

    def mix(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        bias = torch.full((x.shape[1], x.shape[1]), self.fill).triu(1)
        return x + torch.softmax(q @ k.mT / 4 + bias, -1) @ v


@pytest.mark.parametrize("fill", [-5.0, -10.0, -20.0, -50.0, -80.0])
def test_a_fill_that_scores_overcome_is_a_leak_however_small_it_is_now(fill):
    model = WeakFill()
    model.fill = fill
    report = am.check(model, IDS, scenarios=["as given"])
    assert report.verdict == "leak", report.text()


@pytest.mark.parametrize("fill", [-1e4, -1e9, torch.finfo(torch.float32).min])
def test_a_fill_that_makes_weights_zero_is_none(fill):
    model = WeakFill()
    model.fill = fill
    assert am.check(model, IDS, scenarios=["as given"]).ok


class ConvolvesInFloat32(models.Embedded):
    """Causal, by a transform that computes in 32 bits whatever the model computes in: float64 changes nothing."""

    def mix(self, x):
        length, wide = x.shape[1], x.float()
        kernel = 2.0 ** -torch.arange(length)[:, None].float().expand(length, x.shape[2])
        product = torch.fft.rfft(wide, 2 * length, dim=1) * torch.fft.rfft(kernel, 2 * length, dim=0)
        return torch.fft.irfft(product, 2 * length, dim=1)[:, :length].to(x.dtype)


def test_rounding_in_a_format_of_its_own_is_no_leak():
    report = am.check(ConvolvesInFloat32(), IDS, scenarios=["as given"])
    assert report.verdict == "no leak seen, only rounding", report.text()


@pytest.mark.parametrize(("own", "right"), [("ConvolvesInFloat32", True), ("LeaksInFloat32", False)])
def test_a_model_that_does_not_run_in_float64_is_judged_by_direction(own, right):
    class Refuses(globals()[own]):
        def mix(self, x):
            if x.dtype == torch.float64:
                raise RuntimeError("no such kernel")
            return super().mix(x)

    assert am.check(Refuses(), IDS, scenarios=["as given"]).ok == right


class LeaksInFloat32(models.Attends):
    """A kernel for 32 bits that sees everything."""

    def visible(self, length):
        return super().visible(length) | torch.tensor(self.proj.weight.dtype == torch.float32)


def test_a_leak_that_vanishes_in_float64_is_a_leak():
    assert am.check(LeaksInFloat32(), IDS, scenarios=["as given"]).verdict == "leak"


class CountsPairs(models.Embedded):
    """Only two tokens together, 6 and 8 positions on, move the first output."""

    def mix(self, x):
        big = x[..., 0].argmax(1)
        return x + (F.one_hot((big * 7) % 9, 9)[..., None] * 1.0)


def test_the_pair_that_is_named_leaks():
    report = am.check(CountsPairs(), IDS, scenarios=["as given"])
    assert report.verdict == "leak"
    leak = report.leaks[0]
    assert leak.key > leak.query
    assert leak.change > 0


def test_the_call_is_made_as_it_is_given():
    """Nothing is added to the arguments: use_cache=False switches the detection of packed documents on."""
    seen = []

    class Watched(models.Attends):
        def forward(self, input_ids, use_cache=True):
            seen.append(use_cache)
            return super().forward(input_ids)

    assert am.check(Watched(), {"input_ids": IDS}, scenarios=["as given", "batch", "lengths"]).ok
    assert set(seen) == {True}
    report = am.check(Watched(), {"input_ids": IDS}, scenarios=["without cache"])
    assert [one.outcome for one in report.tried] == ["none"]
    assert False in seen
