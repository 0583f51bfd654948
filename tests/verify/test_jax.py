"""Functions of JAX, modules of Flax and layers of Keras: judged with gradients, also by ids, and left as they were."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import flax.linen
import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from flax import nnx

import attnmask as am

IDS = jnp.arange(1, 8)[None]
STATES = jax.random.normal(jax.random.key(0), (1, 7, 8))
TABLE = jax.random.normal(jax.random.key(1), (30, 8))


def attends(x, ahead=0):
    visible = jnp.tril(jnp.ones((x.shape[1], x.shape[1]), bool), ahead)
    scores = jnp.where(visible, jnp.einsum("bqd,bkd->bqk", x, x) / 4, -jnp.inf)
    return jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(scores), x)


class Linen(flax.linen.Module):
    ahead: int = 0

    @flax.linen.compact
    def __call__(self, ids):
        x = flax.linen.Embed(30, 8)(ids)
        mask = jnp.tril(jnp.ones((1, 1, ids.shape[1], ids.shape[1]), bool), self.ahead)
        return flax.linen.gelu(flax.linen.MultiHeadDotProductAttention(2)(x, mask=mask))


class Nnx(nnx.Module):
    def __init__(self, ahead=0):
        rngs = nnx.Rngs(0)
        self.embed, self.drop = nnx.Embed(30, 8, rngs=rngs), nnx.Dropout(0.3, rngs=rngs)
        self.attention, self.ahead = nnx.MultiHeadAttention(2, 8, 8, rngs=rngs, decode=False), ahead

    def __call__(self, ids):
        mask = jnp.tril(jnp.ones((1, 1, ids.shape[1], ids.shape[1]), bool), self.ahead)
        return self.drop(self.attention(self.embed(ids), mask=mask))


class Keras(keras.layers.Layer):
    def __init__(self, ahead=0):
        super().__init__()
        self.embed, self.attention = keras.layers.Embedding(30, 8), keras.layers.MultiHeadAttention(2, 4)
        self.drop, self.ahead = keras.layers.Dropout(0.3), ahead

    def call(self, ids, training=False):
        x = self.embed(ids)
        return self.drop(self.attention(x, x, use_causal_mask=not self.ahead), training=training)


def linen(ahead):
    module = Linen(ahead)
    return module.bind(module.init(jax.random.key(0), IDS))


MODELS = {
    "function": (lambda ahead: lambda x: attends(x, ahead), STATES),
    "compiled": (lambda ahead: jax.jit(lambda x: attends(x, ahead)), STATES),
    "ids looked up": (lambda ahead: lambda ids: attends(TABLE[ids], ahead), IDS),
    "ids taken in a compiled function": (
        lambda ahead: jax.jit(lambda ids: attends(jnp.take(TABLE, ids, axis=0), ahead)),
        IDS,
    ),
    "one-hot": (lambda ahead: lambda ids: attends(jax.nn.one_hot(ids, 30) @ TABLE, ahead), IDS),
    "linen": (linen, IDS),
    "nnx": (Nnx, IDS),
    "keras": (Keras, IDS),
}


@pytest.mark.parametrize("name", MODELS)
def test_right_models_and_leaks(name):
    make, inputs = MODELS[name]
    report = am.check(make(0), inputs, scenarios=["as given"])  # every other shape is compiled anew
    assert report.ok, report
    assert report.sections[0].observed == "causal()"
    assert "no gradients" not in report.text()
    report = am.check(make(1), inputs, scenarios=["as given"])
    assert report.verdict == "leak"
    assert report.leaks[0][:2] == (0, 1)
    assert report.leaks[0].slope > 0


def test_a_right_model_is_right_in_every_situation():
    report = am.check(jax.jit(lambda ids: attends(TABLE[ids])), IDS)
    assert report.ok, report
    assert {"batch", "length 8", "truncation"} <= {one.name for one in report.tried if one.outcome == "none"}


def test_a_leak_that_only_gradients_see():
    def weakly_masked(x):
        hidden = jnp.triu(jnp.ones((x.shape[1], x.shape[1]), bool), 1)
        weights = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x) / 4 - 30.0 * hidden)
        return jnp.einsum("bqk,bkd->bqd", weights, x)

    report = am.check(weakly_masked, STATES / 10)
    assert report.verdict == "leak"


class Normalised(Nnx):
    """BatchNorm counts over the batch and over time, in training only."""

    def __init__(self):
        super().__init__()
        self.norm = nnx.BatchNorm(8, rngs=nnx.Rngs(0))

    def __call__(self, ids):
        return self.norm(super().__call__(ids))


def numbers(model):
    """All that a module holds, keys of random numbers as numbers."""
    leaves = jax.tree.leaves(nnx.state(model))
    is_key = [jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in leaves]
    return [np.array(jax.random.key_data(leaf) if key else leaf) for leaf, key in zip(leaves, is_key, strict=True)]


def test_training_mode_of_flax_and_nothing_is_changed():
    model = Normalised()
    before = [
        np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
        for leaf in jax.tree.leaves(nnx.state(model))
    ]
    report = am.check(model, IDS)
    assert [section.name for section in report.sections if section.outcome == "leak"][:1] == ["training mode"]
    assert all(map(np.array_equal, before, numbers(model)))


def test_rounding_is_judged_in_float64():
    """A causal convolution by Fourier transforms, which round everywhere."""

    def convolution(x):
        kernel = jnp.exp(-jnp.arange(x.shape[1]))[None, :, None]
        parts = jnp.fft.rfft(x, 2 * x.shape[1], 1) * jnp.fft.rfft(kernel, 2 * x.shape[1], 1)
        return jnp.fft.irfft(parts, 2 * x.shape[1], 1)[:, : x.shape[1]].astype(x.dtype)

    report = am.check(convolution, STATES, scenarios=["as given"])
    assert report.ok, report
    assert report.verdict == "no leak seen, only rounding"
