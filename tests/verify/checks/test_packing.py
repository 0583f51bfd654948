"""Packing: documents that notice the others by their number or length, and right models that count positions themselves."""

import numpy as np
import pytest
import torch
from torch import nn

import attnmask as am
from attnmask.verify.checks.packing import NAME
from attnmask.verify.judging.documents import documents_of
from attnmask.verify.session import Session
from attnmask.verify.subjects.excerpt import excerpt, merged
from attnmask.verify.subjects.subject import Subject
from attnmask.verify.torch.transformers import build

LENGTHS = [5, 4, 3]
NUMBERS = torch.tensor([[0] * 5 + [1] * 4 + [2] * 3])
PLACES = torch.tensor([[*range(5), *range(4), *range(3)]])
IDS = torch.randint(3, 40, (1, 12), generator=torch.Generator().manual_seed(0))
ALLOWED = am.causal() & am.documents(lengths=LENGTHS)


class Packs(nn.Module):
    """Attention within documents, which are told by their numbers; ``adds`` is what a document must not notice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.place = nn.Embedding(40, 16), nn.Embedding(64, 16)
        self.qkv = nn.Linear(16, 48)

    def forward(self, input_ids, segment_ids):
        x = self.embed(input_ids) + self.place(self.adds(segment_ids)) * torch.ones(1, input_ids.shape[1], 1)
        q, k, v = self.qkv(x).chunk(3, -1)
        apart = segment_ids[:, :, None] != segment_ids[:, None]
        future = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
        return x + (q @ k.mT / 4).masked_fill(apart | future, -torch.inf).softmax(-1) @ v

    def adds(self, segment_ids):
        """The place within the document."""
        same = segment_ids[:, :, None] == segment_ids[:, None]
        return same.tril().sum(-1)


class CountsItself(Packs):
    """Absolute positions that run on: right, and no input says them."""

    def adds(self, segment_ids):
        return torch.arange(segment_ids.shape[1])[None]


class Numbered(Packs):
    """The number of a document, which is given."""

    def adds(self, segment_ids):
        return segment_ids


class KnowsTheTotal(Packs):
    def adds(self, segment_ids):
        return torch.full_like(segment_ids, segment_ids.shape[1])


class KnowsHowManyFollow(Packs):
    def adds(self, segment_ids):
        return segment_ids.max() - segment_ids


class KnowsItsNumber(Packs):
    """Counted from the borders before it: not what is given."""

    def adds(self, segment_ids):
        return (segment_ids.diff(dim=1, prepend=segment_ids[:, :1]) != 0).cumsum(1)


def checked(model, inputs, allowed=ALLOWED):
    return am.check(model, inputs, allowed=allowed, scenarios=["as given", NAME])


TOLD = {"input_ids": IDS, "segment_ids": NUMBERS}


@pytest.mark.parametrize(
    ("model", "pair", "note"),
    [
        (KnowsTheTotal, (0, 5), "without what follows it"),
        (KnowsHowManyFollow, (0, 5), "without what follows it"),
        (KnowsItsNumber, (9, 8), "if what precedes it is one document, of the same length"),
    ],
)
def test_a_document_that_notices_the_others_without_seeing_them(model, pair, note):
    report = checked(model(), TOLD)
    assert report.sections[0].outcome == "none"  # by replacing content nothing is seen
    assert report.leaks[0][:2] == pair
    assert note in report.text()
    assert report.module == model.__name__  # its embedding is given another number


@pytest.mark.parametrize("model", [Packs, Numbered])
def test_documents_that_notice_nothing(model):
    report = checked(model(), TOLD)
    assert report.tried[1][:2] == (NAME, "none"), report


def test_positions_that_a_model_counts_itself_are_no_leak():
    report = checked(CountsItself(), TOLD)
    assert report.ok
    assert report.tried[1].outcome == "untested"
    assert "the document at positions 5 to 8 gives other outputs alone" in report.tried[1].why
    assert "give it position_ids" in report.tried[1].why


class Placed(Packs):
    """Takes positions, or counts them."""

    def forward(self, input_ids, segment_ids, position_ids=None):
        self.given = position_ids
        return super().forward(input_ids, segment_ids)

    def adds(self, segment_ids):
        return torch.arange(segment_ids.shape[1])[None] if self.given is None else self.given


class IgnoresPositions(Placed):
    def adds(self, segment_ids):
        return torch.arange(segment_ids.shape[1])[None]


class PlacedAndNumbered(Placed):
    """Where it stands among the documents, beside its position."""

    def adds(self, segment_ids):
        standing = (torch.arange(segment_ids.shape[1]) - super().adds(segment_ids)).clamp(0, 9)
        return super().adds(segment_ids) + standing * 2


def test_positions_that_run_on_are_given_to_the_document_alone():
    assert checked(Placed(), TOLD).tried[1].outcome == "none"
    assert checked(IgnoresPositions(), TOLD).tried[1].outcome == "untested"  # they are taken, and not used


def test_where_positions_are_told_a_document_does_not_notice_where_it_stands():
    told = {**TOLD, "position_ids": PLACES}
    assert checked(Placed(), told).tried[1].outcome == "none"
    for model in (IgnoresPositions, PlacedAndNumbered):
        report = checked(model(), told)
        assert report.leaks[0][:2] == (5, 4)
        assert "at the same positions" in report.text()


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM", "Gemma2ForCausalLM"])
def test_real_models_pack(name):
    """With positions that start again, and with a mask of pairs and positions that run on."""
    model = build(name).model
    visible = torch.where(torch.from_numpy(np.array(ALLOWED.dense(12))), 0.0, torch.finfo().min)
    for inputs in (
        {"input_ids": IDS, "position_ids": PLACES, "use_cache": False},
        {"input_ids": IDS, "attention_mask": visible},
    ):
        report = checked(model, inputs)
        assert report.tried[1][:2] == (NAME, "none"), report


def test_rows_have_documents_of_their_own():
    inputs = {"input_ids": IDS.repeat(2, 1), "segment_ids": torch.cat([NUMBERS, NUMBERS.flip(1)])}
    allowed = am.causal() & am.documents(inputs["segment_ids"].numpy())
    report = checked(Packs(), inputs, allowed)
    assert [one.name for one in report.tried[2:]] == ["sequence 0, packing", "sequence 1, packing"]
    assert report.ok
    assert checked(KnowsTheTotal(), inputs, allowed).leaks[0][:2] == (0, 5)


class Varlen(nn.Module):
    """Documents by their borders, as kernels for packed sequences take them."""

    def __init__(self, total=False):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.total = nn.Embedding(40, 16), total

    def forward(self, input_ids, cu_seqlens, max_seqlen):
        assert max_seqlen == int(cu_seqlens.diff().max())
        assert int(cu_seqlens[-1]) == input_ids.shape[1]
        sizes = cu_seqlens.diff().tolist()
        x = torch.cat([part.cumsum(1) for part in self.embed(input_ids).split(sizes, 1)], 1)
        return x + (torch.tensor(len(sizes)).sin() if self.total else 0)


@pytest.mark.parametrize("longest", [5, torch.tensor(5)])
def test_borders_are_those_of_what_is_left(longest):
    inputs = {"input_ids": IDS, "cu_seqlens": torch.tensor([0, 5, 9, 12], dtype=torch.int32), "max_seqlen": longest}
    assert checked(Varlen(), inputs).tried[1].outcome == "none"
    report = checked(Varlen(total=True), inputs)
    assert report.leaks[0][:2] == (0, 5)
    assert report.module == "Varlen"


def test_pads_belong_to_no_document():
    real = torch.tensor([[1] * 9 + [0] * 3])

    class Padded(Packs):
        def forward(self, input_ids, segment_ids, attention_mask):
            return super().forward(input_ids, segment_ids.masked_fill(attention_mask == 0, 7))

    report = checked(Padded(), {**TOLD, "attention_mask": real})
    assert report.tried[1][:2] == (NAME, "none"), report


def documents(mask, length, valid=None):
    subject = Subject(lambda x: x, np.ones((1, length, 2)))
    case = Session(subject, mask, 0, print).case("", **({} if valid is None else {"valid": np.array(valid)}))
    return documents_of(case)


def test_documents_are_runs_that_see_nothing_of_each_other():
    assert documents(ALLOWED, 12) == [(0, 5), (5, 9), (9, 12)]
    assert documents(am.documents(lengths=[2, 1]), 3) == [(0, 2), (2, 3)]
    assert documents(am.causal() & am.documents([0, 1, 0, 2, 2]), 5) == [(0, 3), (3, 5)]  # the first in two pieces
    assert documents(am.causal(), 5) == documents(am.everything(), 5) == documents(am.window(0, 0), 5) == []
    assert documents(am.causal(), 4, [True, True, False, False]) == []


def test_a_model_of_arrays_is_packed_too():
    def sums(x, segment_ids):
        return (
            (segment_ids[:, :, None] == segment_ids[:, None]) & np.tri(12, dtype=bool)[: x.shape[1], : x.shape[1]]
        ) @ x

    inputs = {"x": np.random.default_rng(0).normal(size=(1, 12, 3)), "segment_ids": NUMBERS.numpy()}
    assert checked(sums, inputs).tried[1].outcome == "none"
    report = checked(lambda **inputs: sums(**inputs) / inputs["x"].shape[1], inputs)
    assert report.leaks[0][:2] == (0, 5)
    assert report.module is None


def test_what_cannot_be_cut_is_told():
    inputs = {**TOLD, "lengths": torch.tensor(LENGTHS)}

    class Lengths(Packs):
        def forward(self, input_ids, segment_ids, lengths):
            return super().forward(input_ids, segment_ids)

    report = checked(Lengths(), inputs)
    assert report.tried[1].outcome == "untested"
    assert "lengths of shape (3,) for 1 x 12 positions" in report.tried[1].why


def test_parts_and_merged_documents_keep_what_is_not_about_positions():
    inputs = {"x": np.ones((1, 6, 2)), "scale": np.ones(3), "attention_mask": np.ones((1, 6), int)}
    subject = Subject(lambda **inputs: inputs["x"], inputs)
    assert {name: array.shape for name, array in excerpt(subject, 2, 5).arrays.items()} == {
        "x": (1, 3, 2),
        "scale": (3,),
        "attention_mask": (1, 3),
    }
    assert merged(subject, 3).arrays["attention_mask"].all()


@pytest.mark.parametrize("shape", [(6, 6), (1, 6, 6), (1, 1, 6, 6), (6, 1, 6, 6)])
def test_pairs_are_cut_along_both_axes(shape):
    inputs = {"x": np.ones((6 if len(shape) == 4 and shape[0] == 6 else 1, 6, 2)), "attention_mask": np.ones(shape)}
    found = excerpt(Subject(lambda **inputs: inputs["x"], inputs), 2, 5).arrays
    assert found["attention_mask"].shape == (*shape[:-2], 3, 3)


def test_as_many_sequences_as_positions_are_no_pairs():
    inputs = {"input_ids": np.ones((6, 6), int), "attention_mask": np.ones((6, 6), int)}
    found = excerpt(Subject(lambda **inputs: inputs["input_ids"], inputs), 2, 5).arrays
    assert {array.shape for array in found.values()} == {(6, 3)}
