import re

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameworkError

jax = pytest.importorskip("jax")
jnp = jax.numpy


def inputs(q_len, kv_len):
    random = np.random.default_rng(0)
    shapes = [(2, length, 3, 4) for length in (q_len, kv_len, kv_len)]  # JAX: (batch, length, heads, dim)
    return [jnp.asarray(random.standard_normal(shape), "float32") for shape in shapes]


def assert_means(arguments, mask, q_len, kv_len, q_start=0):
    """JAX under its arguments gives what attnmask gives under the mask."""
    q, k, v = inputs(q_len, kv_len)
    output = jax.nn.dot_product_attention(q, k, v, **arguments).swapaxes(1, 2)
    frame = am.Frame(q_len, kv_len, q_start=q_start)
    ours = am.attention(*(np.asarray(array).swapaxes(1, 2) for array in (q, k, v)), mask, frame=frame)
    rows = ~np.broadcast_to(mask.empty_rows(frame), ours.shape[:3])
    np.testing.assert_allclose(np.asarray(output)[rows], ours[rows], atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"is_causal": True},
        {"local_window_size": (2, 0)},
        {"local_window_size": 1},
        {"local_window_size": (1, 2), "is_causal": True},
        {"key_value_seq_lengths": jnp.array([3, 5], "int32")},
        {"query_seq_lengths": jnp.array([2, 3], "int32"), "key_value_seq_lengths": jnp.array([4, 5], "int32")},
        {"mask": jnp.arange(5)[None, None, None] != 1, "is_causal": True},
    ],
    ids=lambda arguments: " ".join(arguments),
)
@pytest.mark.parametrize("q_start", [0, 2])
def test_read_means_what_jax_does(arguments, q_start):
    """q_len != kv_len; q_start only says where JAX's row 0 stands."""
    assert_means(arguments, am.read(arguments, "jax.nn", q_start=q_start), 3, 5, q_start)


@pytest.mark.parametrize(
    ("mask", "q_len", "kv_len", "q_start"),
    [
        (am.causal(), 4, 4, 0),
        (am.causal(), 3, 5, 0),
        (am.causal(), 3, 5, 2),
        (am.causal() & am.padding([3, 4]), 4, 4, 0),
    ],
)
def test_export_makes_jax_do_what_the_mask_says(mask, q_len, kv_len, q_start):
    frame = am.Frame(q_len, kv_len, q_start=q_start)
    assert_means(am.export(mask, "jax.nn", frame), mask, q_len, kv_len, q_start)


def test_forms():
    assert am.export(am.causal(), "jax.nn", am.Frame(3, 5, q_start=0)) == {"is_causal": True}
    assert am.export(am.everything(), "jax.nn", 3) == {"mask": None}
    assert am.export(am.causal() & am.padding([2, 1]), "jax.nn", 2)["mask"].shape == (2, 1, 2, 2)
    assert am.read({"is_causal": True}, "jax.nn") == am.causal()
    assert am.read({"local_window_size": 2}, "jax.nn") == am.window(2, 2)
    assert am.read({"local_window_size": (2, 0), "is_causal": True}, "jax.nn") == am.causal() & am.window(2)
    assert am.read({"key_value_seq_lengths": jnp.array([2, 3])}, "jax.nn") == am.padding([2, 3])
    assert am.read({"query_seq_lengths": [2, 3]}, "jax.nn") == (am.q < am.lookup([2, 3], am.b))
    assert am.read({"mask": None, "is_causal": False, "scale": 1.0}, "jax.nn") == am.everything()
    assert am.read(jnp.tri(3, dtype=bool), "jax.nn") == am.table(np.tri(3, dtype=bool))


def test_refusals():
    def refused(text, value):
        with pytest.raises(FrameworkError, match=re.escape(text)):
            am.read(value, "jax.nn")

    refused("a mask of jax.nn is boolean, True = visible; got float32 of shape (3, 3).", jnp.tri(3))
    refused("got shape (2, 3, 3). Name all four axes: mask[:, None] if", jnp.ones((2, 3, 3), bool))
    refused("the arguments that mask are mask, is_causal,", {"bias": jnp.zeros((1, 1, 3, 3))})
    with pytest.raises(FrameworkError, match="gives the mean of all values, hidden ones included, in JAX; got 2 empty"):
        am.export(am.causal(), "jax.nn", am.Frame(4, 2, align="end"))
