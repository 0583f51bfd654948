"""What "a window of W" means elsewhere: every way of counting gives the same matrix once converted.

xFormers is in test_peer_xformers.py.
"""

import numpy as np
import pytest
import torch
import transformers.masking_utils as hf
from attn_gym.masks import generate_sliding_window
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as splash
from torch.nn.attention.flex_attention import create_mask

import attnmask as am
from tests.define.masks.loops import visible

N = 8


def band(rule):
    return visible(am.Frame(N), lambda b, h, q, k: rule(q, k))[0, 0]


def flash(left, right):
    """(left, right) of FlashAttention, Transformer Engine, FlashMask and JAX: inclusive, -1 for no limit."""
    return band(lambda q, k: (left < 0 or q - k <= left) and (right < 0 or k - q <= right))


def cudnn(left_bound):
    """Masked is what lies at or below the diagonal that stands left_bound below the main one."""
    return np.tril(np.ones((N, N), bool)) & ~np.tril(np.ones((N, N), bool), -left_bound)


# W visible keys, the query's own among them, said in each system's parameter.
CAUSAL = {
    "transformers": lambda w: hf.sdpa_mask(
        1, N, N, mask_function=hf.sliding_window_causal_mask_function(w), allow_is_causal_skip=False
    )[0, 0].numpy(),
    "FlashAttention, Transformer Engine, FlashMask": lambda w: flash(w - 1, 0),
    "cuDNN": cudnn,
    "Keras, causal": lambda w: band(lambda q, k: abs(q - k) < w and k <= q),
    "JAX": lambda w: flash(w - 1, 0),
    "Splash": lambda w: splash.LocalMask((N, N), (w - 1, 0), offset=0)[:, :],
    "attention-gym": lambda w: create_mask(generate_sliding_window(w - 1), 1, 1, N, N, device="cpu")[0, 0].numpy(),
    "ONNX": lambda w: band(lambda q, k: 0 <= q - k < w),
}


@pytest.mark.parametrize("w", [1, 2, 5])
@pytest.mark.parametrize("system", CAUSAL)
def test_causal_windows_of_w_keys(system, w):
    ours = am.window(w - 1).dense(N)[0, 0]
    assert np.array_equal(ours, CAUSAL[system](w))
    assert ours.sum(1).max() == w


def position(shape):
    """b, h, q, k as index tensors."""
    return (
        torch.zeros(1, dtype=int),
        torch.zeros(1, dtype=int),
        torch.arange(N)[:, None].expand(shape),
        torch.arange(N).expand(shape),
    )


# The same W on both sides means a different number of visible keys in each system.
BOTH_SIDES = {
    "transformers": (lambda w: hf.sliding_window_bidirectional_overlay(w)(*position((N, N))).numpy(), 0),
    "JAX, one number": (lambda w: flash(w, w), 0),
    "transformers to FlashAttention": (lambda w: flash(w - 1, w - 1), 1),
    "Keras": (lambda w: band(lambda q, k: abs(q - k) < w), 1),
}


@pytest.mark.parametrize("w", [1, 2, 5])
@pytest.mark.parametrize("system", BOTH_SIDES)
def test_windows_on_both_sides(system, w):
    theirs, less = BOTH_SIDES[system]
    assert np.array_equal(am.window(w - less, w - less).dense(N)[0, 0], theirs(w))
