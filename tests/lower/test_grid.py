"""Evaluation in every library, and the numbers that follow from it."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given

import attnmask as am
from attnmask.define.kind import kinds
from attnmask.errors import InputError, LoweringError
from attnmask.lower import grid
from attnmask.lower.arrays import evaluate, library_of
from tests.strategies import frames, masks

EXAMPLES = [pair for name in kinds() for pair in importlib.import_module(f"attnmask.define.masks.{name}").EXAMPLES]


@given(masks)
def test_property_torch_and_jax_agree_with_numpy(mask):
    frame = am.Frame(4, 7, q_start=2, batch=2)  # one shape, so that JAX compiles each operation once
    expected = mask.dense(frame)
    for found in (grid.dense_torch(mask, frame, "cpu").numpy(), np.asarray(grid.dense_jax(mask, frame))):
        assert found.dtype == bool
        assert np.array_equal(np.broadcast_to(found, expected.shape), expected)


@given(masks, frames())
def test_property_counts_agree_with_the_dense_array(mask, frame):
    dense = mask.dense(frame)
    assert mask.count(frame) == dense.sum()
    assert mask.density(frame) == pytest.approx(dense.mean())
    assert np.array_equal(mask.empty_rows(frame), ~dense.any(-1))


def test_dense_is_always_4d():
    assert am.causal().dense(5).shape == (1, 1, 5, 5)
    assert am.padding([1, 2]).dense(5).shape == (2, 1, 5, 5)
    assert am.table(np.ones((2, 3, 4, 4), bool)).dense(4).shape == (2, 3, 4, 4)
    assert am.everything().dense(am.Frame(2, 3)).dtype == bool


def test_jax_evaluates_under_jit():
    mask = am.causal() & am.documents([0, 0, 1, 1, 1])
    found = jax.jit(lambda: grid.dense_jax(mask, 5))()
    assert np.array_equal(np.asarray(found), mask.dense(5))


def test_torch_evaluates_as_a_mask_mod():
    from torch.nn.attention.flex_attention import create_mask

    mask = am.causal() & am.padding([3, 5])
    found = create_mask(lambda b, h, q, k: evaluate(mask.node, b, h, q, k), 2, 1, 5, 5, device="cpu")
    assert np.array_equal(found.numpy(), mask.dense(5))


def test_plain_numbers_give_a_plain_answer():
    assert evaluate(am.causal().node, 0, 0, 3, 2) is True
    assert evaluate((~am.causal()).node, 0, 0, 3, 2) is False


def test_library_of_refuses_a_mixture():
    assert library_of(np.ones(2), torch.ones(2)) == "torch"
    assert library_of(jnp.ones(2)) == "jax"
    with pytest.raises(InputError, match="one library"):
        library_of(jnp.ones(2), torch.ones(2))


def test_unknown_forms_are_refused_with_the_list():
    with pytest.raises(LoweringError, match="bias, dense, intervals"):
        am.lower(am.causal(), 3, "sparse")
