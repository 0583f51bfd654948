"""Checks: every kind of leak is found and located, and correct models are left alone."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

import attnmask as am
from attnmask.errors import FrameworkError, InputError
from attnmask.verify.judging import probe
from tests.verify import models

IDS = torch.randint(0, 40, (1, 9), generator=torch.Generator().manual_seed(1))


def test_a_correct_model_passes():
    report = am.check(models.Attends(), IDS)
    assert report.ok
    assert report.verdict == "no leak seen"
    assert report.leaks == []
    assert report.sections[0].tests == 8  # n - 1 cuts
    assert report.sections[0].largest_forbidden == 0.0
    assert report.sections[0].largest_allowed > 0.01
    assert report.sections[0].observed == "causal()"


@pytest.mark.parametrize(
    ("model", "first", "module"),
    [
        (models.Unmasked, (0, 1), "Unmasked"),
        (models.OneAhead, (0, 1), "OneAhead"),
        (models.ZeroGate, (0, 1), "ZeroGate"),
        (models.Detached, (0, 1), "Detached"),
        (models.BehindNorm, (0, 1), "BehindNorm"),
        (models.WeakFill, (0, 1), "WeakFill"),
        (models.TwoStage, (0, 1), "leaking (MixesWith)"),
    ],
)
def test_leaks_are_found_and_located(model, first, module):
    report = am.check(model(), IDS)
    assert report.verdict == "leak"
    assert not report.ok
    assert (report.leaks[0].query, report.leaks[0].key) == first
    assert report.module == module


def test_the_leaks_of_an_off_by_one_are_exactly_its_pairs():
    report = am.check(models.OneAhead(), IDS)
    assert [(leak.query, leak.key) for leak in report.leaks] == [(q, q + 1) for q in range(8)]


def test_routing_leaks_are_found_although_every_gradient_is_zero():
    report = am.check(models.TopToken(), IDS)
    assert report.verdict == "leak"
    assert all(leak.slope == 0.0 for leak in report.leaks)


def test_a_zero_gate_is_blind_without_fresh_weights():
    assert am.check(models.ZeroGate(), IDS, fresh_weights=False).verdict == "no leak seen"


def test_rounding_is_told_from_leaks_by_float64():
    report = am.check(models.FFTConvolution(), IDS)
    assert report.ok
    assert report.verdict == "no leak seen, only rounding"
    assert "float64" in report.sections[0].notes[0]
    assert 0 < report.sections[0].largest_forbidden < 1e-4


def test_a_model_without_any_influence_does_not_pass():
    report = am.check(models.Constant(), IDS)
    assert not report.ok
    assert report.verdict.startswith("no influence seen")


def test_noise_is_the_same_in_each_run_so_that_the_rest_can_be_judged():
    model = models.Noisy()
    before = torch.get_rng_state()
    assert am.check(model, IDS).ok
    assert torch.equal(torch.get_rng_state(), before)


def test_noise_of_a_generator_of_its_own_cannot_be_judged():
    report = am.check(models.Noisy(own=True), IDS)
    assert not report.ok
    assert report.verdict.startswith("not deterministic")


def test_the_model_itself_is_not_touched():
    model = models.Attends().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    am.check(model, IDS)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks for part in model.modules())


def test_little_work_is_done_by_one_thread_and_the_others_are_given_back():
    seen = set()

    class Notes(models.Attends):
        def forward(self, ids):
            seen.add(torch.get_num_threads())
            return super().forward(ids)

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert am.check(Notes(), IDS, scenarios=["as given"]).ok
        assert seen == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_embeddings_as_inputs():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    hidden = nn.Transformer.generate_square_subsequent_mask(7)
    x = torch.randn(2, 7, 16)
    assert am.check(lambda x: layer.eval()(x, src_mask=hidden), x).ok
    report = am.check(layer, x[:1])
    assert report.verdict == "leak"
    assert report.vary == "src"


def test_other_relations():
    ids = torch.randint(0, 40, (1, 8))
    documents = am.documents([0, 0, 0, 1, 1, 1, 1, 1])

    class Packed(models.Attends):
        def visible(self, length):
            return torch.from_numpy((am.causal() & documents).dense(length)[0, 0])

    assert am.check(Packed(), ids, allowed=am.causal() & documents).ok
    report = am.check(models.Attends(), ids, allowed=am.causal() & documents)
    assert (report.leaks[0].query, report.leaks[0].key) == (3, 0)
    assert am.check(models.OneAhead(), ids, allowed=am.window(None, 1)).ok
    assert am.check(models.Unmasked(), ids, allowed=am.everything()).ok


def test_tests_are_as_few_as_they_can_be():
    def count(mask, frame=8):
        dense = mask.dense(frame)[0, 0]
        return len(probe.tests_of(dense, np.ones(len(dense), bool)).replaced)

    assert count(am.causal()) == 7
    assert count(am.padding(5)) == 1
    assert count(am.everything()) == 0
    assert count(am.prefix(3) | am.causal()) == 5
    assert count(am.documents(lengths=[4, 4])) == 2


def test_tests_cover_every_forbidden_pair():
    for mask in (am.causal(), am.window(2), am.documents([0, 1, 0, 2]), am.padding(3), am.causal() & am.chunked(2)):
        dense = mask.dense(4)[0, 0]
        found = probe.tests_of(dense, np.ones(4, bool))
        covered = (found.rows[:, :, None] & found.replaced[:, None, :]).any(0)
        assert np.array_equal(covered, ~dense)


def test_tests_of_a_right_model_are_one_run_beside_the_sequence_itself():
    sizes = []

    def model(x):
        sizes.append(len(x))
        return x.cumsum(1)

    assert am.check(model, torch.ones(1, 6, 4), scenarios=["as given"]).ok
    # alone, replaced, and derived; two copies, to see whether they see each other; 5 tests and itself
    assert sorted(sizes) == [1, 1, 1, 1, 2, 2, 2, 2, 2, 6]


def test_outputs_that_depend_on_the_place_in_the_batch_are_compared_at_the_same_place():
    assert am.check(lambda x: np.cumsum(x, axis=1) + 1e-9 * np.arange(len(x))[:, None, None], np.ones((1, 6, 4))).ok


def test_copies_that_see_each_other_in_large_batches_only_hide_nothing():
    report = am.check(lambda x: np.cumsum(x, axis=1) + (x.mean() if len(x) > 2 else 0.0), np.ones((1, 6, 4)))
    assert report.verdict == "leak"


@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_tried_on_both_sides_where_the_model_takes_a_mask(causal):
    allowed = am.causal() if causal else am.everything()
    report = am.check(models.Padded(causal=causal), IDS, allowed=allowed)
    assert [section.name for section in report.sections] == ["as given", "3 right pads", "3 left pads"]
    assert report.ok
    broken = am.check(models.Padded(honours=False, causal=causal), IDS, allowed=allowed)
    assert [section.outcome for section in broken.sections] == ["none", "none" if causal else "leak", "leak"]
    assert broken.leaks[0].key in (0, 1, 2, 6, 7, 8)


def test_a_given_padding_mask_joins_the_allowed_mask():
    valid = torch.tensor([[1] * 9, [1] * 4 + [0] * 5])
    inputs = {"input_ids": IDS.expand(2, -1), "attention_mask": valid}
    report = am.check(models.Padded(), inputs, allowed=am.everything())
    assert report.ok
    assert [section.allowed for section in report.sections] == ["everything()", "padding(4)"]
    assert am.check(models.Padded(honours=False), inputs, allowed=am.everything()).verdict == "leak"
    am.testing.assert_padding_ignored(models.Padded(), inputs)
    with pytest.raises(AssertionError, match="LEAK"):
        am.testing.assert_padding_ignored(models.Padded(honours=False), inputs)


def test_assertions_for_test_suites():
    am.testing.assert_causal(models.Attends(), IDS)
    with pytest.raises(AssertionError, match="query 0 depends on key 1"):
        am.testing.assert_causal(models.OneAhead(), IDS)
    with pytest.raises(AssertionError):
        am.testing.assert_no_leak(models.Attends(), IDS, allowed=am.window(1))


def test_plain_functions_of_numpy_jax_and_torch():
    import jax.numpy as jnp

    x = np.random.default_rng(0).normal(size=(1, 6, 3))
    assert am.check(lambda x: np.cumsum(x, 1), x).ok
    assert am.check(lambda x: jnp.cumsum(x, 1), jnp.asarray(x)).ok
    assert am.check(lambda x: torch.cumsum(x, 1), torch.from_numpy(x)).ok
    report = am.check(lambda x: x[:, ::-1], x)
    assert report.verdict == "leak"
    assert (report.leaks[0].query, report.leaks[0].key) == (0, 5)


def test_reports_as_text_json_and_html():
    report = am.check(models.TwoStage(), IDS)
    assert "first module that leaks: leaking (MixesWith)" in report.text()
    assert "query 0 depends on key 1" in report.text()
    data = json.loads(report.to_json())
    assert data["ok"] is False
    assert data["first_leaking_module"] == "leaking (MixesWith)"
    assert data["sections"][0]["leaks"][0]["query"] == 0
    html = report.html()
    assert html.startswith("<!DOCTYPE html>")
    assert "http://" not in html.replace("http://www.w3.org/", "")
    assert "https://" not in html
    assert html == am.check(models.TwoStage(), IDS).html()


@pytest.mark.parametrize(
    ("model", "inputs", "options", "got"),
    [
        (models.Attends(), torch.randint(0, 9, (1, 1)), {}, "shape (1, 1)"),
        (models.Attends(), torch.randn(3, 4), {}, "shape (3, 4)"),
        (models.Attends(), {"ids": "text"}, {}, "no array"),
        (models.Attends(), {"ids": IDS}, {"vary": "x"}, "x among ['ids']"),
        (lambda x: x.sum(1), torch.randn(1, 4, 3), {}, "shape (1, 3)"),
        (lambda x: {"loss": 3.0}, torch.randn(1, 4, 3), {}, "dict"),
        ("model", IDS, {}, "str"),
    ],
)
def test_refusals(model, inputs, options, got):
    with pytest.raises(InputError) as caught:
        am.check(model, inputs, **options)
    assert got in caught.value.got


def test_progress_is_told():
    told = []
    am.check(models.Attends(), IDS, progress=told.append)
    assert told[0].startswith("as given: 8 forbidden regions")


@pytest.mark.parametrize(
    ("terminal", "progress", "shown"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, True)],
)
def test_progress_is_shown_on_a_terminal(capsys, monkeypatch, terminal, progress, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    am.check(models.Attends(), IDS, progress=progress, scenarios=["as given"])
    assert ("  .. as given: 8 forbidden regions at 9 positions" in capsys.readouterr().err) == shown


class ReadsSource(nn.Module):
    """Outputs of their own number, each the mean of the real inputs."""

    def forward(self, input_ids, attention_mask=None):
        seen = self.embedding(input_ids) * attention_mask[..., None]
        return seen.sum(1, keepdim=True).repeat(1, 4, 1)

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 8)


@pytest.mark.parametrize("real", [1, 2, 5])
def test_padding_of_a_source_of_another_length_than_the_output(real):
    """One real token and many pads look like the first row of causal(), which they are not."""
    inputs = {"input_ids": IDS[:, :6], "attention_mask": (torch.arange(6) < real).long()[None]}
    report = am.check(ReadsSource(), inputs, allowed=am.everything())
    assert report.ok
    assert report.sections[0].allowed == f"padding({real})"


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, src, src_key_padding_mask=None):
        return self.layer(src, src_key_padding_mask=src_key_padding_mask)


def test_a_float_key_padding_mask_of_0_and_1_hides_nothing_and_is_refused():
    """PyTorch adds it to the scores; taken for padding, the model would be blamed for the input."""
    x = torch.randn(1, 5, 8)
    pads = torch.tensor([[0.0, 0, 0, 1, 1]])
    model = Encoder().eval()
    with pytest.raises(
        FrameworkError, match=r"a src_key_padding_mask of floating-point numbers is added to the scores"
    ):
        am.check(model, {"src": x, "src_key_padding_mask": pads}, allowed=am.everything())
    hidden = torch.where(pads == 1, -torch.inf, 0.0)
    for mask in (hidden, pads.bool()):
        report = am.check(model, {"src": x, "src_key_padding_mask": mask}, allowed=am.everything())
        assert report.ok, report.text()
