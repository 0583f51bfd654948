"""The tutorial's function, written here from its description: a mask of 0 and 1, times -1e9, added to the logits."""

import re

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameworkError, LoweringError


def tutorial(q, k, v, mask):
    logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(np.asarray(k.shape[-1], q.dtype))
    if mask is not None:
        logits += mask * np.asarray(-1e9, q.dtype)
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    weights = raised / raised.sum(-1, keepdims=True)
    return weights @ v, weights


def inputs(q_len=4, kv_len=4):
    random = np.random.default_rng(0)
    return [random.standard_normal((2, 3, length, 8)).astype("float32") for length in (q_len, kv_len, kv_len)]


LOOK_AHEAD = 1 - np.tri(4, dtype="float32")
PADDING = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], "float32")[:, None, None, :]
MASKS = [None, LOOK_AHEAD, PADDING, np.maximum(LOOK_AHEAD, PADDING), PADDING.astype(int), PADDING.astype(bool)]


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: "None" if mask is None else f"{mask.dtype}{mask.shape}")
def test_read_gives_output_and_weights_of_the_tutorial(mask):
    """Seed 003, from there to here."""
    q, k, v = inputs()
    output, weights = tutorial(q, k, v, mask)
    ours = am.read(mask, "tensorflow")
    np.testing.assert_allclose(am.attention(q, k, v, ours), output, atol=1e-6)
    np.testing.assert_allclose(am.attention_weights(q, k, ours), weights, atol=1e-6)
    visible = np.broadcast_to(True if mask is None else mask == 0, weights.shape)
    np.testing.assert_array_equal(weights > 0, visible)


@pytest.mark.parametrize(
    ("mask", "frame"),
    [(am.causal(), am.Frame(4)), (am.causal(), am.Frame(2, 5, align="end")), (am.causal() & am.padding([3, 2]), am.Frame(4))],
)  # fmt: skip
def test_export_makes_the_tutorial_do_what_the_mask_says(mask, frame):
    """Seed 003, from here to there."""
    q, k, v = inputs(frame.q_len, frame.kv_len)
    arguments = am.export(mask, "tensorflow", frame)
    assert arguments["mask"].dtype == np.float32
    output, weights = tutorial(q, k, v, **arguments)
    np.testing.assert_allclose(am.attention(q, k, v, mask, frame=frame), output, atol=1e-6)
    np.testing.assert_allclose(am.attention_weights(q, k, mask, frame=frame), weights, atol=1e-6)


def test_read_forms():
    assert am.read(PADDING, "tensorflow") == am.padding(valid=PADDING[:, 0, 0] == 0)
    assert am.read({"mask": LOOK_AHEAD}, "tensorflow") == am.table(np.tri(4, dtype=bool))
    assert am.read({"mask": None}, "tensorflow") == am.everything()


def refused(text, call, error=FrameworkError):
    with pytest.raises(error, match=re.escape(text)):
        call()


def test_refusals():
    text = "the mask is (q_len, kv_len) or (batch, heads, q_len, kv_len); got shape (2, 4, 4). Name all four axes:"
    refused(text, lambda: am.read(np.zeros((2, 4, 4)), "tensorflow"))
    text = (
        "the mask is 0 (visible) or 1 (hidden): the formula itself multiplies it by -1e9; got values from -1e+09 to -0, "
        "shape (4, 4). Give the mask before it is multiplied."
    )
    refused(text, lambda: am.read(LOOK_AHEAD * -1e9, "tensorflow"))
    text = (
        "a query that sees nothing gives the mean of all values, hidden ones included; got 8 empty rows (batch, head, "
        "query row) (0, 0, 0), (0, 0, 1), (0, 0, 2), ... in padding([0, 0])."
    )
    refused(text, lambda: am.export(am.padding([0, 0]), "tensorflow", 4))
    text = "the formula multiplies by -1e9, which float16 turns into -inf: 0 times -inf is NaN where it is visible"
    refused(text, lambda: am.export(am.causal(), "tensorflow", 4, dtype="float16"))
    refused(
        "a bias has a floating-point dtype", lambda: am.export(am.causal(), "tensorflow", 4, dtype=int), LoweringError
    )


def test_what_the_refusals_protect_from():
    q, k, v = inputs()
    _, weights = tutorial(q, k, v, np.ones((4, 4), "float32"))
    np.testing.assert_array_equal(weights, 0.25)  # uniform over everything, all of it forbidden
    with np.errstate(all="ignore"):
        output, _ = tutorial(*(array.astype("float16") for array in (q, k, v)), LOOK_AHEAD.astype("float16"))
    assert np.isnan(output).all()


def test_dtype_of_the_export():
    assert am.export(am.causal(), "tensorflow", 2, dtype="float64")["mask"].dtype == np.float64
