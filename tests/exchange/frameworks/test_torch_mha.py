import dataclasses
import re

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameworkError

torch = pytest.importorskip("torch")

KEYS = am.padding([3, 2])
WORDS = {"attn_mask", "key_padding_mask"}


def shapes(arguments):
    assert set(arguments) == WORDS
    return tuple(None if arguments[name] is None else tuple(arguments[name].shape) for name in sorted(WORDS))


@pytest.mark.parametrize(
    ("mask", "frame", "options", "expected"),
    [
        (am.everything(), am.Frame(3), {}, (None, None)),
        (am.causal(), am.Frame(2, 4, align="end"), {}, ((2, 4), None)),
        (KEYS, am.Frame(2, 4), {}, (None, (2, 4))),
        (am.padding(3), am.Frame(2, 4), {}, ((2, 4), None)),
        (am.causal() & KEYS, am.Frame(4), {}, ((4, 4), (2, 4))),
        (KEYS & am.window(1) & am.causal(), am.Frame(3), {}, ((3, 3), (2, 3))),
        (am.causal() | KEYS, am.Frame(4), {"num_heads": 3}, ((6, 4, 4), None)),
        (am.causal() | KEYS, am.Frame(4, heads=3), {}, ((6, 4, 4), None)),
        (am.same(am.h, am.k % 2) & KEYS, am.Frame(4, heads=2), {}, ((4, 4, 4), (2, 4))),
        (am.same(am.h, am.k % 2), am.Frame(4, heads=2, batch=3), {}, ((6, 4, 4), None)),
    ],
    ids=str,
)
def test_which_argument_says_what(mask, frame, options, expected):
    arguments = am.export(mask, "torch.mha", frame, **options)
    assert shapes(arguments) == expected
    heads = options.get("num_heads", frame.heads)
    back = am.read(arguments, "torch.mha", num_heads=heads, q_start=frame.q_start or 0)
    placed = dataclasses.replace(frame, q_start=frame.q_start or 0)
    there, here = np.broadcast_arrays(back.dense(placed), mask.dense(frame))
    np.testing.assert_array_equal(there, here)


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("mask", [am.causal(), KEYS, am.causal() & KEYS, am.causal() | KEYS], ids=str)
def test_module_does_what_the_mask_says(mask, need_weights):
    """Identity projections, so that the module's heads are slices of the input."""
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(6, num_heads=2, bias=False, batch_first=True)
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.eye(6).repeat(3, 1))
        module.out_proj.weight.copy_(torch.eye(6))
    x = torch.randn(2, 4, 6)
    output, weights = module(x, x, x, need_weights=need_weights, average_attn_weights=False,
                             **am.export(mask, "torch.mha", 4, num_heads=2))  # fmt: skip
    heads = x.unflatten(-1, (2, 3)).transpose(1, 2)
    torch.testing.assert_close(output, am.attention(heads, heads, heads, mask).transpose(1, 2).flatten(2))
    if need_weights:
        torch.testing.assert_close(weights, am.attention_weights(heads, heads, mask))


def test_read_forms():
    hidden = torch.tensor([[False, True], [False, False]])
    visible = [[True, False], [True, True]]
    assert am.read(hidden, "torch.mha") == am.table(visible)
    assert am.read(hidden, "torch.mha", key_padding=True) == am.padding(valid=visible)
    assert am.read({"key_padding_mask": hidden[0]}, "torch.mha") == am.padding(valid=visible[0])
    assert am.read({"attn_mask": None, "need_weights": False}, "torch.mha") == am.everything()
    bias = torch.zeros(2, 2).masked_fill(hidden, float("-inf"))
    assert am.read(bias, "torch.mha") == am.table(visible)
    both = am.read({"attn_mask": hidden, "key_padding_mask": hidden}, "torch.mha")
    assert both == am.table(visible) & am.padding(valid=visible)
    four = hidden.repeat(4, 1, 1)
    assert am.read(four, "torch.mha", num_heads=2).dense(2).shape == (2, 2, 2, 2)


def refused(text, call):
    with pytest.raises(FrameworkError, match=re.escape(text)):
        call()


def test_refusals():
    hidden = torch.zeros(6, 3, 3, dtype=torch.bool)
    text = "a 3-D attn_mask is (batch * num_heads, q_len, kv_len); got shape (6, 3, 3) with num_heads="
    refused(text + "None. Write am.read(..., 'torch.mha', num_heads=...)", lambda: am.read(hidden, "torch.mha"))
    refused(text + "4", lambda: am.read(hidden, "torch.mha", num_heads=4))
    text = "an attn_mask is (q_len, kv_len) or (batch * num_heads, q_len, kv_len); got shape (1, 6, 3, 3). Merge"
    refused(text, lambda: am.read(hidden[None], "torch.mha"))
    text = "a key_padding_mask is (kv_len,) or (batch, kv_len); got shape (6, 3, 3)."
    refused(text, lambda: am.read(hidden, "torch.mha", key_padding=True))
    text = "an attn_mask of floating-point numbers is added to the scores; got only the numbers 0 and 1"
    refused(text, lambda: am.read(torch.tril(torch.ones(3, 3)), "torch.mha"))
    text = "is_causal is a hint in MultiheadAttention: some of its paths obey it and some the attn_mask; got is_causal=True."
    refused(text, lambda: am.read({"attn_mask": hidden[0], "is_causal": True}, "torch.mha"))  # T13
    text = (
        "an attn_mask that differs per batch or head is (batch * num_heads, q_len, kv_len); got causal() | "
        "padding([3, 2]) in Frame(4), num_heads=None. Write Frame(..., batch=..., heads=...), or num_heads=..."
    )
    refused(text, lambda: am.export(am.causal() | KEYS, "torch.mha", 4))
    text = (
        "a query that sees nothing gives NaN in MultiheadAttention; got 3 empty rows (batch, head, query row) (0, 0, 0)"
    )
    refused(text, lambda: am.export(am.nothing(), "torch.mha", 3))  # T11, T12
    heads = am.table(np.ones((1, 3, 4, 4), bool))
    refused(
        "num_heads is that of the mask; got num_heads=2", lambda: am.export(heads & KEYS, "torch.mha", 4, num_heads=2)
    )


def test_what_the_refusal_of_empty_rows_protects_from():
    """T11: pad rows are NaN, and so are the gradients of a loss on the valid rows alone."""
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(4, num_heads=2, batch_first=True)
    x = torch.randn(1, 3, 4)
    mask = am.causal() & am.padding(valid=[[False, True, True]])
    output, _ = module(x, x, x, **am.export(mask, "torch.mha", 3, empty_rows="keep"))
    output[0, 1:].sum().backward()
    assert output[0, 0].isnan().all()
    assert module.in_proj_weight.grad.isnan().any()
