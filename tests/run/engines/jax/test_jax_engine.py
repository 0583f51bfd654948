import numpy as np
import pytest

import attnmask as am

jax = pytest.importorskip("jax")

PADDED = am.causal() & am.padding([3, 0])  # the second sequence is all padding


def test_no_nan_on_the_way():
    """JAX's own check stops at a NaN anywhere, also one that is masked later."""
    q = jax.numpy.asarray(np.random.default_rng(0).standard_normal((2, 2, 4, 3)), "float32")
    with jax.debug_nans(True):
        for gradient in jax.grad(lambda q, k: (am.attention_weights(q, k, PADDED) ** 2).sum(), (0, 1))(q, q):
            assert not np.asarray(gradient[1]).any()


def test_jit_with_the_mask_closed_over():
    q = jax.numpy.asarray(np.random.default_rng(0).standard_normal((2, 2, 4, 3)), "float32")
    outputs = [function(lambda q: am.attention(q, q, q, PADDED))(q) for function in (jax.jit, lambda same: same)]
    np.testing.assert_allclose(*outputs, atol=1e-6)


def test_bfloat16_stays_bfloat16():
    q = jax.numpy.ones((1, 1, 2, 3), "bfloat16")
    assert am.attention(q, q, q, am.window(1)).dtype == "bfloat16"
    assert am.attention_weights(q, q, am.window(1)).dtype == "bfloat16"


@pytest.mark.parametrize(
    ("mask", "start"),
    [
        (am.q * am.q >= am.k * am.k + 3 * am.q, 70_000),
        (am.documents([0, 2**32, 2**32, 1, 0, 0]), 2),
        (am.window(2) & (am.lookup([2**40] * 6, am.k) // 2**39 <= am.q), 2),
    ],
    ids=str,
)
def test_numbers_beyond_32_bits(mask, start):
    """JAX has 32 bits: masks of larger numbers are computed by NumPy, in the engine, and in selections."""
    frame = am.Frame(4, 6 if start == 2 else start + 4, q_start=start)
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 1, size, 4)).astype(np.float32) for size in (4, frame.kv_len, frame.kv_len))
    arrays = [jax.numpy.asarray(array) for array in (q, k, v)]
    for seen in (mask, mask & am.top_k(3)):
        expected = am.attention(q, k, v, seen, frame=frame)
        np.testing.assert_allclose(am.attention(*arrays, seen, frame=frame), expected, atol=1e-5)
