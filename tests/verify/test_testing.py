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


def test_chunks_must_add_up():
    with pytest.raises(InputError, match="add up"):
        am.testing.assert_cache_consistent(build("GPT2LMHeadModel").model, IDS, chunks=(4, 4))
