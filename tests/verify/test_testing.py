"""Assertions for the test-suites of others: documents and caches."""

import pytest
import torch

import attnmask as am
from attnmask.errors import InputError
from attnmask.verify.torch.transformers import build
from tests.verify import models

IDS = torch.randint(5, 100, (2, 12), generator=torch.Generator().manual_seed(0))
DOCUMENTS = [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]


class Packed(models.Attends):
    def visible(self, length):
        return torch.from_numpy((am.causal() & am.documents(DOCUMENTS)).dense(length)[0, 0])


def test_documents_isolated():
    ids = torch.randint(0, 40, (1, 12))
    am.testing.assert_documents_isolated(Packed(), ids, DOCUMENTS)
    am.testing.assert_documents_isolated(Packed(), ids, am.causal() & am.documents(DOCUMENTS))
    with pytest.raises(AssertionError, match="query 4 depends on key 0"):
        am.testing.assert_documents_isolated(models.Attends(), ids, DOCUMENTS)


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "LlamaForCausalLM", "MistralForCausalLM"])
@pytest.mark.parametrize("chunks", [None, (5, 4, 3), (1,) * 12])
def test_caches_of_real_models(name, chunks):
    am.testing.assert_cache_consistent(build(name).model, IDS, chunks=chunks)


class ForgetsPositions(torch.nn.Module):
    """A decoder that numbers the tokens of every call from 0."""

    def __init__(self):
        super().__init__()
        self.inner = build("GPT2LMHeadModel").model

    def forward(self, ids, **options):
        return self.inner(ids, position_ids=torch.arange(ids.shape[1])[None], **options)


def test_a_decoder_that_forgets_its_positions():
    with pytest.raises(AssertionError, match="at position 6, in call 1"):
        am.testing.assert_cache_consistent(ForgetsPositions(), IDS)


@pytest.mark.parametrize("ids", [IDS.numpy(), IDS.tolist(), {"input_ids": IDS}])
def test_ids_of_any_library(ids):
    am.testing.assert_cache_consistent(build("GPT2LMHeadModel").model, ids)


def test_ids_of_jax():
    import jax.numpy as jnp

    am.testing.assert_cache_consistent(build("GPT2LMHeadModel").model, jnp.asarray(IDS.numpy()))


def test_caches_that_are_states():
    model = build("MambaForCausalLM").model
    am.testing.assert_cache_consistent(model, IDS)
    with pytest.raises(AssertionError, match=r"position 4, in call 1: .* first from backbone.layers.0.mixer"):
        am.testing.assert_cache_consistent(model, IDS, chunks=(4, 4, 4))


class GivesNone(torch.nn.Module):
    """Takes a cache and gives none back."""

    def forward(self, ids, past_key_values=None, use_cache=False):
        return torch.nn.functional.one_hot(ids, 100).double()


class TakesNone(torch.nn.Module):
    def forward(self, ids):
        return torch.nn.functional.one_hot(ids, 100).double()


@pytest.mark.parametrize(
    ("model", "rule", "got"),
    [
        (TakesNone(), "a decoder takes past_key_values and use_cache", "TakesNone"),
        (GivesNone(), "a call with use_cache=True gives the cache back", "Tensor without past_key_values"),
        (lambda ids: ids, "a torch module is decoded with a cache", "function"),
    ],
)
def test_models_that_cannot_be_decoded(model, rule, got):
    with pytest.raises(InputError) as caught:
        am.testing.assert_cache_consistent(model, IDS)
    assert (caught.value.rule, caught.value.got) == (rule, got)
    assert caught.value.fix


def test_chunks_must_add_up():
    with pytest.raises(InputError, match="add up"):
        am.testing.assert_cache_consistent(build("GPT2LMHeadModel").model, IDS, chunks=(4, 4))


class States(torch.nn.Module):
    """Embeddings with a mask of some name; ``honours`` says whether it is used."""

    def __init__(self, name, honours=True, real=True):
        super().__init__()
        self.name, self.honours, self.real = name, honours, real

    def forward(self, **inputs):
        x, mask = inputs[next(iter(inputs))], inputs[self.name].bool()
        weights = (mask if self.real else ~mask).double() if self.honours else torch.ones_like(mask).double()
        return x + (weights[..., None] * x).sum(1, keepdim=True)


PADS = torch.tensor([[1, 1, 1, 1, 0, 0]])


@pytest.mark.parametrize(
    ("name", "options", "real"),
    [
        ("attention_mask", {}, True),
        ("key_padding_mask", {}, False),
        ("mask", {"padding": "mask"}, True),
        ("pads", {"padding": "pads"}, False),
    ],
)
@pytest.mark.parametrize("main", ["states", "x"])
def test_a_padding_mask_that_is_ignored_is_found_by_any_name(name, options, real, main):
    x = torch.randn(1, 6, 4, dtype=torch.float64)
    inputs = {main: x, name: PADS if real else 1 - PADS}
    am.testing.assert_padding_ignored(States(name, real=real), inputs, **options)
    with pytest.raises(AssertionError, match="LEAK"):
        am.testing.assert_padding_ignored(States(name, honours=False, real=real), inputs, **options)


def test_an_assertion_that_could_test_nothing_fails_and_asks():
    inputs = {"x": torch.randn(1, 6, 4), "mask": PADS}
    with pytest.raises(AssertionError, match="one of mask may be one: write padding='mask'"):
        am.testing.assert_padding_ignored(States("mask", honours=False), inputs)


def test_a_padding_mask_that_hides_nothing_is_tried_with_pads():
    inputs = {"x": torch.randn(1, 6, 4, dtype=torch.float64), "attention_mask": torch.ones(1, 6)}
    am.testing.assert_padding_ignored(States("attention_mask"), inputs)
    with pytest.raises(AssertionError, match="removed pads: leak"):
        am.testing.assert_padding_ignored(States("attention_mask", honours=False), inputs)
