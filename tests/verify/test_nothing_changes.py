"""Whatever is checked or recorded, the model and everything global are as before, also after an exception."""

import contextlib
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as modules

import attnmask as am
from attnmask.run.watching import WATCHERS
from tests.verify import models

IDS = torch.randint(1, 40, (2, 9), generator=torch.Generator().manual_seed(1))
INPUTS = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
FORMER = {}  # counts calls, also those of copies


class Busy(models.Attends):
    """Has statistics, dropout, hooks and buffers; raises at one of its calls."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.norm, self.drop, self.fails_at = nn.BatchNorm1d(16), nn.Dropout(0.2), fails_at
        self.register_buffer("calls", torch.zeros(()))
        self.proj.register_forward_hook(lambda part, args, output: output * 1.0)
        self.embed.weight.requires_grad_(False)
        FORMER["calls"] = 0

    def forward(self, input_ids, attention_mask=None):
        FORMER["calls"] += 1
        self.calls += 1
        if FORMER["calls"] == self.fails_at:
            raise KeyError("enough")
        seen = self.embed(input_ids) if attention_mask is None else self.embed(input_ids) * attention_mask[..., None]
        return self.proj(self.drop(self.norm(self.mix(seen).mT).mT))


def world(model):
    """All that must not change."""
    parts = [(part.training, len(part._forward_hooks), len(part._forward_pre_hooks)) for part in model.modules()]
    weights = [(weight.requires_grad, weight.grad, weight.dtype) for weight in model.parameters()]
    settings = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads(), np.geterr()
    everywhere = len(modules._global_forward_hooks), len(modules._global_forward_pre_hooks), list(WATCHERS)
    return parts, weights, settings, everywhere, random.getstate(), str(np.random.get_state())


@contextlib.contextmanager
def unchanged(model, inputs):
    before, randomness = world(model), torch.random.get_rng_state()
    tensors = {name: value.clone() for name, value in {**model.state_dict(), **inputs}.items()}
    yield
    assert world(model) == before
    assert torch.equal(torch.random.get_rng_state(), randomness)
    assert all(torch.equal(tensors[name], value) for name, value in {**model.state_dict(), **inputs}.items())


@pytest.mark.parametrize("training", [False, True])
def test_a_check(training):
    model = Busy().train(training)
    with unchanged(model, INPUTS):
        report = am.check(model, INPUTS, scenarios="thorough")
    assert len(report.tried) > 10


@pytest.mark.parametrize("fails_at", [*range(1, 16), 20, 25, 30, 40, 50])
def test_a_check_of_a_model_that_raises(fails_at):
    model = Busy(fails_at)
    with unchanged(model, INPUTS), contextlib.suppress(KeyError, am.errors.AttnmaskError):
        am.check(model, INPUTS)
    assert FORMER["calls"] >= fails_at


@pytest.mark.parametrize("fails_at", [1, None])
def test_a_recording(fails_at):
    model = Busy(fails_at).eval()
    before = {name: value.clone() for name, value in model.state_dict().items() if name != "calls"}
    with contextlib.suppress(KeyError), am.record(model) as log:
        state = world(model)[:3]
        model(**INPUTS)
    assert world(model)[:3] == state
    assert (len(modules._global_forward_hooks), WATCHERS) == (0, [])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items() if name != "calls")
    assert bool(log.calls) == (fails_at is None)
