"""docs/conventions.md says what frameworks do; here it is measured, so that the page cannot drift.

``python tests/test_conventions.py`` writes the measured table into the page.
"""

import functools
import importlib
import re
import types
from pathlib import Path

import numpy as np
import pytest

import attnmask as am
from attnmask.conventions import CONVENTIONS, RULES

PAGE = Path(__file__).parent.parent / "docs" / "conventions.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"
HEADER = ["function", "a boolean True means", "its causal flag, 2 queries and 5 keys", "a row that sees nothing gives"]
DIM = 5  # also the number of keys: with the identity as values, the output is the weights


def inputs(q_len):
    random = np.random.default_rng(0)
    return [
        random.standard_normal((1, 1, q_len, DIM)),
        random.standard_normal((1, 1, DIM, DIM)),
        np.eye(DIM)[None, None],
    ]


# One function per framework: weights (q_len, kv_len) under a boolean mask (q_len, kv_len), or under its causal flag.


def torch_sdpa(q_len, mask=None, *, fill=None, dtype="float32", **flags):
    torch = importlib.import_module("torch")
    q, k, v = (torch.tensor(array, dtype=getattr(torch, dtype)) for array in inputs(q_len))
    if fill is not None and mask is not None:
        mask = torch.zeros(mask.shape, dtype=q.dtype).masked_fill(torch.tensor(~mask), fill)
    elif mask is not None:
        mask = torch.tensor(mask)
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, **flags)[0, 0].double().numpy()


def torch_mha(q_len, mask=None, *, need_weights=True, is_causal=False):
    torch = importlib.import_module("torch")
    module = torch.nn.MultiheadAttention(DIM, 1, bias=False, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.eye(DIM).repeat(3, 1))
        module.out_proj.weight.copy_(torch.eye(DIM))
    q, k, v = (torch.tensor(array[0]) for array in inputs(q_len))
    mask = None if mask is None else torch.tensor(mask)
    return module(q, k, v, attn_mask=mask, need_weights=need_weights, is_causal=is_causal)[0][0].detach().numpy()


def jax_nn(q_len, mask=None, **flags):
    jax = importlib.import_module("jax")
    q, k, v = (jax.numpy.asarray(array, "float32").swapaxes(1, 2) for array in inputs(q_len))
    mask = None if mask is None else jax.numpy.asarray(mask)[None, None]
    return np.asarray(jax.nn.dot_product_attention(q, k, v, mask=mask, **flags))[0, :, 0]


def transformers(q_len, mask=None, *, fill=None, attend="eager", **flags):
    torch = importlib.import_module("torch")
    files = {
        "eager": "transformers.models.llama.modeling_llama",
        "sdpa": "transformers.integrations.sdpa_attention",
    }
    function = getattr(importlib.import_module(files[attend]), f"{attend}_attention_forward")
    q, k, v = (torch.tensor(array, dtype=torch.float32) for array in inputs(q_len))
    mask = None if mask is None else torch.tensor(mask)[None, None]
    if fill is not None and mask is not None:
        mask = torch.zeros(mask.shape).masked_fill(~mask, fill)
    module = types.SimpleNamespace(num_key_value_groups=1, training=False)
    output, _ = function(module, q, k, v, mask, scaling=DIM**-0.5, **({"is_causal": False} | flags))
    return output[0, :, 0].numpy()


def tensorflow_tutorial(q_len, mask=None):
    q, k, v = inputs(q_len)
    logits = q @ k.swapaxes(-1, -2) / np.sqrt(DIM)
    logits = (logits if mask is None else logits + mask * -1e9).astype("float32")
    raised = np.exp(logits - logits.max(-1, keepdims=True))
    return (raised / raised.sum(-1, keepdims=True) @ v)[0, 0]


def ours(q_len, mask=None, *, causal=None):
    q, k, v = inputs(q_len)
    frame = am.Frame(q_len, DIM, align=causal or "start")
    return am.attention(q, k, v, am.causal() if causal else am.table(mask), frame=frame)[0, 0]


# What the weights say.


def meaning_of_true(attend):
    visible = attend(1, np.array([[True, False, False, False, False]]))[0] > 0
    words = {"10000": "visible", "01111": "hidden", "11111": "nothing is hidden"}
    return words["".join(str(int(cell)) for cell in visible)]


def causal_table(attend, **flag):
    try:
        visible = attend(2, **flag) > 0
    except (AssertionError, RuntimeError):
        return "refused without attn_mask"
    return " / ".join("".join(str(int(cell)) for cell in row) for row in visible)


def empty_row(attend, polarity):
    """Row 0 sees nothing, row 1 everything; the weights are told apart from those without a mask."""
    hidden = np.array([[True] * DIM, [False] * DIM])
    row, unmasked = (
        attend(2, ~hidden if polarity == "visible" else hidden)[0],
        attend(2, np.full((2, DIM), polarity == "visible"))[0],
    )
    if np.isnan(row).any():
        return "NaN"
    for name, weights in (("zero", 0.0), ("the mean of all values", 1 / DIM), ("attention without the mask", unmasked)):
        if np.allclose(row, weights, atol=1e-3):
            return name
    return str(row)


def row(name, attend, **causal):
    polarity = meaning_of_true(attend)
    return [name, polarity, causal_table(attend, **causal) if causal else "no such flag", empty_row(attend, polarity)]


def bias_row(function, attend, fill):
    attend = functools.partial(attend, fill=fill)
    return [f"{function} bias of {fill:g}", "(a bias: 0 is visible)", "as above", empty_row(attend, "visible")]


def measured():
    sdpa, mha = "torch `scaled_dot_product_attention`", "torch `nn.MultiheadAttention`"
    huggingface = "Hugging Face transformers,"
    rows = [
        row(sdpa, torch_sdpa, is_causal=True),
        bias_row(f"{sdpa}, float32", torch_sdpa, float("-inf")),
        bias_row(f"{sdpa}, float32", torch_sdpa, float(np.finfo("float32").min)),
        bias_row(f"{sdpa}, float16", functools.partial(torch_sdpa, dtype="float16"), float(np.finfo("float16").min)),
        bias_row(f"{sdpa}, float32", torch_sdpa, -1e4),
        row(mha, torch_mha, is_causal=True),
        row(f"{mha}, `need_weights=False`", functools.partial(torch_mha, need_weights=False), is_causal=True),
        row(f"{huggingface} sdpa", functools.partial(transformers, attend="sdpa"), is_causal=True),
        row(f"{huggingface} eager", transformers),
        bias_row(f"{huggingface} eager, float32", transformers, float(np.finfo("float32").min)),
        row("`jax.nn.dot_product_attention`", jax_nn, is_causal=True),
        row("`scaled_dot_product_attention` of TensorFlow's tutorial", tensorflow_tutorial),
        row('`attnmask.attention`, `align="start"`', ours, causal="start"),
        row('`attnmask.attention`, `align="end"`', ours, causal="end"),
    ]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in [HEADER, ["---"] * len(HEADER), *rows])


def test_page_says_what_is_measured():
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    pytest.importorskip("transformers")
    written = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert written == measured(), "run `python tests/test_conventions.py` and look at what changed"


@pytest.mark.parametrize("convention", CONVENTIONS + RULES, ids=lambda convention: convention.title)
def test_page_states_every_convention(convention):
    page = " ".join(PAGE.read_text().split())
    assert convention.title in page
    assert convention.text in page


def window_rows():
    section = PAGE.read_text().partition("## Windows")[2]
    return re.findall(r"^\| (.+?) \| `(.+?)` \| `(.+?)` \| `am\.(.+?)` \|$", section, re.MULTILINE)


@pytest.mark.parametrize("row", window_rows(), ids=lambda row: f"{row[0]} {row[1]}")
@pytest.mark.parametrize("W", [1, 2, 5])
def test_windows_show_the_same_keys(row, W):
    """A9: the framework's rule, as its own code or documents state it, against the mask of the last column."""
    _, _, rule, mask = row
    q, k = np.arange(9)[:, None] + 3, np.arange(12)
    values = {"W": W, "l": W, "r": 1, "window": am.window, "abs": abs, "q": q, "k": k}
    dense = eval(mask, values).dense(am.Frame(9, 12, q_start=3))[0, 0]
    np.testing.assert_array_equal(dense, np.broadcast_to(eval(rule, values), dense.shape))


def test_there_are_windows():
    assert len(window_rows()) >= 9


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + measured() + END + rest.partition(END)[2])
