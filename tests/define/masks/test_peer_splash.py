"""The mask classes of JAX Splash attention as attnmask expressions, also where q_len and kv_len differ."""

import numpy as np
import pytest
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as splash

import attnmask as am

SHAPES = [((8, 8), 0), ((3, 8), 0), ((3, 8), 5), ((8, 3), 0), ((5, 9), 2), ((6, 4), -2)]


@pytest.mark.parametrize(("shape", "offset"), SHAPES, ids=str)
def test_causal_and_full(shape, offset):
    frame = am.Frame(*shape, q_start=offset)
    assert np.array_equal(am.causal().dense(frame)[0, 0], splash.CausalMask(shape, offset=offset)[:, :])
    assert np.array_equal(am.everything().dense(frame)[0, 0], splash.FullMask(shape)[:, :])


@pytest.mark.parametrize("sides", [(2, 0), (0, 0), (1, 3), (None, 1), (2, None), (None, None)], ids=str)
@pytest.mark.parametrize(("shape", "offset"), SHAPES, ids=str)
def test_local(shape, offset, sides):
    theirs = splash.LocalMask(shape, sides, offset=offset)[:, :]
    assert np.array_equal(am.window(*sides).dense(am.Frame(*shape, q_start=offset))[0, 0], theirs)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_chunked_causal(size):
    ours = am.causal() & am.chunked(size)
    for shape in ((8, 8), (3, 8), (8, 5)):
        theirs = splash.ChunkedCausalMask(shape, size)[:, :]
        assert np.array_equal(ours.dense(am.Frame(*shape, q_start=0))[0, 0], theirs)


def test_operators_agree():
    shape = (6, 8)
    causal, local = splash.CausalMask(shape), splash.LocalMask(shape, (1, 2), offset=0)
    chunks = splash.ChunkedCausalMask(shape, 3)
    theirs = ((causal & local) | chunks)[:, :]
    ours = (am.causal() & am.window(1, 2)) | (am.causal() & am.chunked(3))
    assert np.array_equal(ours.dense(am.Frame(*shape, q_start=0))[0, 0], theirs)


def test_one_mask_per_head():
    shape = (8, 8)
    theirs = splash.MultiHeadMask([splash.CausalMask(shape), splash.LocalMask(shape, (2, 0), offset=0)])[:, :, :]
    ours = am.where(am.lookup([True, False], am.h), am.causal(), am.window(2))
    assert np.array_equal(ours.dense(8)[0], theirs)
