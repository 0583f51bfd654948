import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameworkError, LoweringError

torch = pytest.importorskip("torch")
sdpa = torch.nn.functional.scaled_dot_product_attention

MIXED = am.causal() & am.padding([3, 0])


def inputs(q_len=4, kv_len=4, dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.randn(2, 3, length, 8, dtype=dtype) for length in (q_len, kv_len, kv_len)]


@pytest.mark.parametrize("options", [{}, {"dtype": torch.float32}, {"dtype": "float32"}], ids=str)
@pytest.mark.parametrize(
    ("mask", "frame"),
    [(am.causal(), am.Frame(4)), (am.causal(), am.Frame(2, 5, align="end")), (MIXED, am.Frame(4)), (am.everything(), am.Frame(3))],
)  # fmt: skip
def test_sdpa_does_what_the_mask_says(mask, frame, options):
    q, k, v = inputs(frame.q_len, frame.kv_len)
    output = sdpa(q, k, v, **am.export(mask, "torch.sdpa", frame, **options))
    torch.testing.assert_close(output, am.attention(q, k, v, mask, frame=frame))


def test_forms():
    assert am.export(am.causal(), "torch.sdpa", 3) == {"is_causal": True}
    assert am.export(am.causal(), "torch.sdpa", am.Frame(2, 5, align="start")) == {"is_causal": True}
    assert am.export(am.everything(), "torch.sdpa", 3) == {"attn_mask": None}
    attn_mask = am.export(am.causal(), "torch.sdpa", am.Frame(2, 5, align="end"))["attn_mask"]
    assert attn_mask.shape == (1, 1, 2, 5)
    assert attn_mask.dtype == torch.bool
    bias = am.export(am.causal(), "torch.sdpa", 3, dtype=torch.bfloat16, fill="finite")["attn_mask"]
    assert (bias.dtype, bias.min()) == (torch.bfloat16, torch.finfo(torch.bfloat16).min)
    assert am.export(am.window(1), "torch.sdpa", 3, device="meta")["attn_mask"].device.type == "meta"


def test_finite_bias_with_empty_rows_is_refused():
    text = "the mean of all values, or attention without a mask, under SDPA; got 4 empty rows"
    with pytest.raises(FrameworkError, match=text):
        am.export(MIXED, "torch.sdpa", 4, dtype=torch.float16, fill="finite")
    am.export(MIXED, "torch.sdpa", 4, dtype=torch.float16, fill="finite", empty_rows="keep")
    with pytest.raises(LoweringError, match="a bias has a floating-point dtype"):
        am.export(MIXED, "torch.sdpa", 4, dtype=torch.int64)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("fill", ["-inf", "finite"])
def test_bias_is_read_back(dtype, fill):
    frame = am.Frame(3, 5, align="end")
    back = am.read(am.export(am.causal(), "torch.sdpa", frame, dtype=dtype, fill=fill), "torch.sdpa", q_start=2)
    np.testing.assert_array_equal(back.dense(frame), am.causal().dense(frame))


@pytest.mark.parametrize("fill", [-1e4, -1e9, -65504.0, float("-inf")])
def test_fills_that_hide(fill):
    bias = torch.tensor([[0.0, fill], [0.0, 0.0]])
    assert am.read(bias, "torch.sdpa") == am.table([[True, False], [True, True]])
    assert am.read(bias.bfloat16(), "torch.sdpa") == am.table([[True, False], [True, True]])


def test_read_forms():
    assert am.read({"is_causal": True}, "torch.sdpa") == am.causal()
    assert am.read({"attn_mask": None, "is_causal": False, "dropout_p": 0.1}, "torch.sdpa") == am.everything()
    assert am.read(np.tri(3, dtype=bool), "torch.sdpa") == am.table(np.tri(3, dtype=bool))
    padding = torch.tensor([[True, False], [True, True]])[:, None, None, :]
    assert am.read(padding, "torch.sdpa") == am.padding(valid=[[True, False], [True, True]])
    assert am.read(padding[:1], "torch.sdpa") == am.padding(valid=[True, False])
    rows = torch.tensor([[True], [False]])  # broadcasts over the keys
    np.testing.assert_array_equal(
        am.read(rows, "torch.sdpa").dense(am.Frame(2, 3, q_start=0))[0, 0], [[1] * 3, [0] * 3]
    )


def test_is_causal_counts_rows_from_the_first_key():
    """With a cache of 3 keys, is_causal hides what the cached keys should show: read says so."""
    read = am.read({"is_causal": True}, "torch.sdpa", q_start=3)
    frame = am.Frame(2, 5, q_start=3)
    np.testing.assert_array_equal(read.dense(frame)[0, 0], np.tri(2, 5, dtype=bool))
    q, k, v = inputs(2, 5)
    torch.testing.assert_close(am.attention(q, k, v, read, frame=frame), sdpa(q, k, v, is_causal=True))


def refused(text, value, **options):
    with pytest.raises(FrameworkError) as caught:
        am.read(value, "torch.sdpa", **options)
    assert str(caught.value) == text


AXES_FIX = "Name all four axes: mask[:, None] if the first axis is the batch, mask[None] if it is the heads."


def test_refusals():
    refused(
        "an attn_mask of floating-point numbers is added to the scores; got only the numbers 0 and 1, shape (3, 3): "
        "adding 1 hides nothing. Convert it to booleans, array.bool().",
        torch.tril(torch.ones(3, 3)),
    )  # T4
    refused(
        "an attn_mask is boolean or floating-point; got int64 of shape (3, 3). "
        "Write array.bool() if 1 means what True means there, after am.diagnose(array).",
        torch.ones(3, 3, dtype=torch.int64),
    )  # T5
    refused(
        "an attn_mask is (q_len, kv_len) or (batch, heads, q_len, kv_len); got shape (2, 5) with q_len=4. "
        "If the first axis is the batch, write mask[:, None, None, :] or am.padding(valid=mask).",
        torch.ones(2, 5, dtype=torch.bool),
        q_len=4,
    )  # T6, where it can be seen
    refused(
        f"an attn_mask is (q_len, kv_len) or (batch, heads, q_len, kv_len); got shape (2, 3, 3). {AXES_FIX}",
        torch.ones(2, 3, 3, dtype=torch.bool),
    )  # T7
    refused(
        f"an attn_mask is (q_len, kv_len) or (batch, heads, q_len, kv_len); got shape (5,). {AXES_FIX}",
        torch.ones(5, dtype=torch.bool),
    )
    refused(
        "SDPA takes attn_mask or is_causal: with both, some of its kernels combine them and some refuse; got "
        "attn_mask of shape (3, 3) and is_causal=True. Read attn_mask alone, and write & am.causal() if both are meant.",
        {"attn_mask": torch.ones(3, 3, dtype=torch.bool), "is_causal": True},
    )  # T8
    refused(
        "an attn_mask of floating-point numbers is a mask if it is 0 (visible) or at most -1e4 (hidden); "
        "got a bias that is not a mask, with -2, -1. Add the bias to the scores yourself, and read the mask alone.",
        torch.tensor([[0.0, -1.0], [-2.0, 0.0]]),
    )


def test_what_the_refusals_protect_from():
    """T4 and T6: SDPA takes both without a word."""
    q, k, v = inputs()
    ones = torch.ones(4, 4)
    torch.testing.assert_close(sdpa(q, k, v, attn_mask=ones), sdpa(q, k, v))
    q, k, v = (array[:, :, :2] for array in (q, k, v))
    valid = torch.tensor([[True, False], [True, True]])
    assert not torch.allclose(sdpa(q, k, v, attn_mask=valid), sdpa(q, k, v, attn_mask=valid[:, None, None]))
