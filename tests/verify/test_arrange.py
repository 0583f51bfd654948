"""The axes of inputs and outputs, frames, what must be seen, and models that take one size of batch only."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

import attnmask as am
from attnmask.errors import InputError
from tests.verify import models

IDS = torch.randint(1, 40, (3, 9), generator=torch.Generator().manual_seed(1))


class LengthFirst(nn.Module):
    """(length, batch, dim), as nn.MultiheadAttention takes it."""

    def __init__(self, ahead=1):
        super().__init__()
        self.attention, self.ahead = nn.MultiheadAttention(16, 2), ahead

    def forward(self, x):
        hidden = torch.ones(len(x), len(x), dtype=torch.bool).triu(self.ahead)
        return self.attention(x, x, x, attn_mask=hidden)[0]


class LengthFirstIds(LengthFirst):
    def __init__(self, ahead=1):
        super().__init__(ahead)
        self.embed = nn.Embedding(40, 16)

    def forward(self, ids):
        return super().forward(self.embed(ids))


class MaskedConvolution(nn.Conv2d):
    """Sees pixels before it in reading order, or the next one, too."""

    def __init__(self, ahead=0):
        super().__init__(1, 3, 3, padding=1)
        seen = torch.zeros(3, 3)
        seen[0], seen[1, : 1 + 2 * ahead] = 1, 1
        self.register_buffer("seen", seen)

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight * self.seen, padding=1)


STATES = torch.randn(7, 2, 16, generator=torch.Generator().manual_seed(2))
IMAGES = torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(3))
SIGNAL = torch.randn(2, 3, 12, generator=torch.Generator().manual_seed(4))


def strided(future=0):
    """24 frames to 6 outputs, four each; with ``future`` frames of the next four."""
    return nn.Sequential(nn.ConstantPad1d((0, future), 0.0), nn.Conv1d(4, 5, 4 + future, stride=4))


FOUR_EACH = {
    "allowed": "k <= 4 * q + 3",
    "frame": am.Frame(6, 24, q_start=0),
    "length_axis": 2,
    "output": lambda result: result.mT,
}
SAID = {"batch_axis": 1, "length_axis": 0}


@pytest.mark.parametrize(
    ("right", "wrong", "inputs", "options", "pair"),
    [
        (LengthFirst(), LengthFirst(2), STATES, {}, None),
        (LengthFirst(), LengthFirst(2), STATES, SAID, (0, 1)),
        (LengthFirst(), LengthFirst(2), STATES[:, :1], {}, (0, 1)),
        (LengthFirstIds(), LengthFirstIds(2), IDS, SAID, (0, 1)),
        (MaskedConvolution(), MaskedConvolution(1), IMAGES, {}, (0, 1)),
        (MaskedConvolution(), MaskedConvolution(1), IMAGES, {"length_axis": (2, 3)}, (0, 1)),
        (
            nn.Sequential(nn.ZeroPad1d((2, 0)), nn.Conv1d(3, 4, 3)),
            nn.Sequential(nn.ZeroPad1d((1, 1)), nn.Conv1d(3, 4, 3)),
            SIGNAL,
            {"length_axis": 2},
            (0, 1),
        ),
        (lambda x: x.cumsum(1), lambda x: x.cumsum(1).roll(-1, 1), SIGNAL[:, 0], {}, (0, 1)),
        (lambda x: np.cumsum(x, 0), lambda x: np.cumsum(x[::-1], 0)[::-1], np.random.rand(6, 2, 4), SAID, (0, 1)),
        (
            lambda x: np.cumsum(x.reshape(2, 12, -1), 1).reshape(x.shape),
            lambda x: np.cumsum(x.reshape(2, 12, -1), 1).reshape(x.shape)[:, ::-1],
            np.random.rand(2, 3, 4, 5),
            {"scenarios": ["as given"]},
            None,
        ),
        (strided(), strided(1), torch.randn(1, 4, 24), FOUR_EACH, (0, 4)),
    ],
)
def test_axes_are_found_or_said(right, wrong, inputs, options, pair):
    if options.get("scenarios"):  # a function of a batch of two
        right, wrong = in_twos(right), in_twos(wrong)
    report = am.check(right, inputs, **options)
    assert report.ok, report
    report = am.check(wrong, inputs, **options)
    assert report.verdict == "leak", report
    assert pair in (None, report.leaks[0][:2])


def in_twos(function):
    def of_any(x):
        filled = x if len(x) % 2 == 0 else np.concatenate([x, x[-1:]])
        return np.concatenate([function(filled[first : first + 2]) for first in range(0, len(filled), 2)])[: len(x)]

    return of_any


def test_an_axis_that_was_found_is_told():
    assert "axis 1 for the batch and axis 0 for positions" in am.check(LengthFirst(), STATES).text()


def test_of_ids_another_layout_is_only_mentioned():
    report = am.check(LengthFirstIds(), IDS)
    assert report.verdict == "leak"
    assert "say batch_axis=1, length_axis=0" in report.text()


def test_channels_first_is_mentioned_where_it_would_not_leak():
    report = am.check(nn.Sequential(nn.ZeroPad1d((2, 0)), nn.Conv1d(3, 3, 3)), SIGNAL)
    assert report.verdict == "leak"
    assert "say batch_axis=0, length_axis=2" in report.text()


def test_a_causal_model_is_seen_through_its_layout():
    report = am.check(LengthFirst(), STATES)
    assert report.sections[0].observed == "causal()"


@pytest.mark.parametrize("layout", [{"batch_axis": 0, "length_axis": 0}, {"batch_axis": 5}, {"length_axis": (1, 9)}])
def test_axes_that_do_not_exist_are_refused(layout):
    with pytest.raises(InputError, match="different axes of the varied input"):
        am.check(LengthFirst(), STATES, **layout)


def test_a_frame_has_as_many_queries_as_outputs():
    with pytest.raises(InputError, match=r"Frame\(6, 24"):
        am.check(strided(), torch.randn(1, 4, 24), **{**FOUR_EACH, "frame": am.Frame(5, 24, q_start=0)})


def test_without_a_frame_it_is_asked_for():
    with pytest.raises(InputError, match=r"frame=am\.Frame\(6, 24"):
        am.check(strided(), torch.randn(1, 4, 24), length_axis=2, output=FOUR_EACH["output"])


def test_frames_are_aligned_at_other_lengths_too():
    """The last outputs only: aligned at the end at every length."""
    report = am.check(lambda x: x.cumsum(1)[:, -3:], torch.randn(1, 8, 2), frame=am.Frame(3, 8, align="end"))
    assert report.ok, report
    assert {"length 7", "length 9"} <= {one.name for one in report.tried}
    late = am.check(lambda x: x.cumsum(1)[:, -3:].roll(1, 1), torch.randn(1, 8, 2), frame=am.Frame(3, 8, align="end"))
    assert late.leaks[0][:2] == (0, 6)


def test_what_must_be_seen():
    encoder, turned = models.Attends(), models.Attends()
    encoder.visible = lambda length: torch.ones(length, length, dtype=torch.bool)
    assert am.check(encoder, IDS[:1], allowed=am.everything(), must_see=am.everything()).ok
    report = am.check(turned, IDS[:1], allowed=am.everything(), must_see="everything()")
    assert not report.ok
    assert report.verdict.startswith("sees too little")
    assert report.sections[-1].missing[0] == (0, 1)
    assert "query 0 does not depend on key 1" in report.text()
    assert report.as_json()["sections"][-1]["missing"][0] == [0, 1]


def test_what_is_never_used_is_told():
    report = am.check(lambda x: np.cumsum(x, 1), np.ones((1, 5, 2)), allowed=am.everything())
    assert "10 of 25 allowed pairs have no influence, such as query 0, key 1" in report.text()
    assert report.sections[0].observed == "causal()"


class SeesAll(models.Attends):
    def visible(self, length):
        return torch.ones(length, length, dtype=torch.bool)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("model", "ok"), [(models.Attends, True), (SeesAll, False)])
def test_exported_modules_take_one_size_of_batch(model, ok, batch):
    exported = torch.export.export(model(), (IDS[:batch],)).module()
    report = am.check(exported, IDS[:batch])
    assert report.ok == ok, report
    assert f"the model takes {batch} sequences in a call" in report.text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit.trace is old, and still met
@pytest.mark.parametrize(("model", "ok"), [(models.Attends, True), (SeesAll, False)])
def test_scripts_and_what_cannot_be_copied(model, ok):
    locked = model()
    locked.lock, locked.last = threading.Lock(), torch.ones(2, requires_grad=True) * 2
    before = [weight.clone() for weight in locked.parameters()]
    assert am.check(locked, IDS).ok == ok
    assert all(map(torch.equal, before, locked.parameters()))
    assert am.check(torch.jit.trace(model(), (IDS,)), IDS, lengths=[9]).ok == ok


class Reversible(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.cumsum(1)

    @staticmethod
    def backward(context, slope):
        raise NotImplementedError("done backwards elsewhere")


def test_a_backward_pass_that_fails_leaves_perturbation():
    report = am.check(Reversible.apply, torch.randn(1, 6, 4))
    assert report.ok
    assert "NotImplementedError: done backwards elsewhere" in report.text()


@pytest.mark.parametrize("inputs", [IDS.tolist(), IDS.numpy(), {"ids": IDS.numpy()}])
def test_lists_and_numpy_ids(inputs):
    assert am.check(models.Attends(), inputs).ok
    assert am.check(SeesAll(), inputs).leaks[0][:2] == (0, 1)


def test_several_inputs_are_varied_together():
    def late(x, times):
        return x.cumsum(1) + times.roll(-1, 1)

    given = {"x": torch.randn(1, 6, 2), "times": torch.randn(1, 6, 2)}
    assert am.check(late, given).ok
    assert am.check(late, given, vary=["x", "times"]).leaks[0][:2] == (0, 1)


def test_a_square_mask_beside_as_many_sequences_is_no_sequence():
    def masked(x, mask):
        return torch.einsum("qk,bkd->bqd", mask, x)

    given = {"x": torch.randn(6, 6, 8), "mask": torch.ones(6, 6).tril()}
    assert am.check(masked, given).ok
    assert am.check(masked, {**given, "mask": torch.ones(6, 6)}).verdict == "leak"


def test_a_mask_of_four_axes():
    def masked(x, mask):
        return (x[:, None] @ x[:, None].mT).masked_fill(~mask, -torch.inf).softmax(-1)[:, 0] @ x

    visible = torch.ones(6, 6, dtype=torch.bool).tril()
    given = {"x": torch.randn(2, 6, 4), "mask": visible.expand(2, 1, 6, 6)}
    report = am.check(masked, given)
    assert report.ok, report
    assert "truncation" in {one.name for one in report.tried if one.outcome == "none"}
    assert am.check(masked, {**given, "mask": given["mask"].roll(1, 3)}).verdict == "leak"


@pytest.mark.parametrize(
    ("inputs", "advice"),
    [
        (torch.nested.nested_tensor([torch.randn(3, 4), torch.randn(5, 4)], layout=torch.jagged), "to_padded_tensor"),
        (torch.randn(3), "inputs"),
    ],
)
def test_inputs_that_are_refused_in_words(inputs, advice):
    with pytest.raises(InputError, match=advice):
        am.check(nn.Linear(4, 4), inputs)


def test_one_output_for_each_sequence():
    with pytest.raises(InputError, match=r"result\[:, None\]"):
        am.check(lambda x: x.mean(1), torch.randn(2, 6, 8))
    report = am.check(lambda x: x.mean(1), torch.randn(2, 6, 8), allowed="everything()", output=lambda r: r[:, None])
    assert report.ok
