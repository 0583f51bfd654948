import subprocess
import sys

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameError, InputError
from attnmask.run.engines.numpy import oracle

torch = pytest.importorskip("torch")
jnp = pytest.importorskip("jax.numpy")

LIBRARIES = {"numpy": np.asarray, "torch": torch.tensor, "jax": jnp.asarray}


def arrays(library, q_len, kv_len, heads=1):
    random = np.random.default_rng(0)
    shapes = [(1, heads, q_len, 4), (1, heads, kv_len, 4), (1, heads, kv_len, 4)]
    return [LIBRARIES[library](random.standard_normal(shape).astype("float32")) for shape in shapes]


@pytest.mark.parametrize("library", LIBRARIES)
def test_two_by_two_by_hand(library):
    """Query [[1,2],[3,4]], key [[5,6],[7,8]], value [[9,10],[11,12]], causal: row 1 by hand.

    Scores of row 1: (3*5+4*6, 3*7+4*8) = (39, 53), over sqrt(2); weights (1, e^x) / (1 + e^x) with x = 14 / sqrt(2)
    = 9.8995, e^9.8995 = 19920.0, so 0.00005020 and 0.99994980; output (9, 10) + 2 * 0.99994980.
    """
    convert = LIBRARIES[library]
    q, k, v = (
        convert(np.array([[rows]], "float32")) for rows in ([[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 10], [11, 12]])
    )
    weights = np.asarray(am.attention_weights(q, k, am.causal()))[0, 0]
    output = np.asarray(am.attention(q, k, v, am.causal()))[0, 0]
    np.testing.assert_array_equal(weights[0], [1, 0])
    np.testing.assert_allclose(weights[1], [5.020e-5, 0.9999498], rtol=2e-4)
    np.testing.assert_allclose(output, [[9, 10], [10.9998996, 11.9998996]], rtol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("q_len", "kv_len", "visible"),
    [(1, 16, [[1] * 16]), (2, 5, [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]), (5, 2, [[0, 0], [0, 0], [0, 0], [1, 0], [1, 1]])],
)
def test_causal_at_the_end_is_flash_attentions_table(library, q_len, kv_len, visible):
    q, k, v = arrays(library, q_len, kv_len)
    mask, frame = am.causal(), am.Frame(q_len, kv_len, align="end")
    weights = np.asarray(am.attention_weights(q, k, mask, frame=frame))[0, 0]
    np.testing.assert_array_equal(weights > 0, np.array(visible, bool))
    output = np.asarray(am.attention(q, k, v, mask, frame=frame))[0, 0]
    np.testing.assert_allclose(output, weights @ np.asarray(v)[0, 0], atol=1e-6)
    assert not output[~np.array(visible, bool).any(-1)].any()
    if q_len == 1:
        np.testing.assert_allclose(output, np.asarray(am.attention(q, k, v))[0, 0], atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_causal_at_the_start_is_another_table(library):
    q, k, _ = arrays(library, 2, 5)
    weights = am.attention_weights(q, k, am.causal(), frame=am.Frame(2, 5, align="start"))
    np.testing.assert_array_equal(np.asarray(weights)[0, 0] > 0, [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]])


@pytest.mark.parametrize("library", LIBRARIES)
def test_hidden_key_of_huge_score_gets_no_weight(library):
    """A fill that is added would lose against 1e30."""
    q, _, v = arrays(library, 1, 3)
    k = LIBRARIES[library](np.array([[[[0.0] * 4, [1e30] * 4, [0.0] * 4]]], "float32"))
    q = abs(q)
    weights = np.asarray(am.attention_weights(q, k, am.padding(valid=[True, False, True])))
    np.testing.assert_array_equal(weights[0, 0], [[0.5, 0, 0.5]])
    output = np.asarray(am.attention(q, k, v, am.padding(valid=[True, False, True])))
    np.testing.assert_allclose(output[0, 0, 0], np.asarray(v)[0, 0, ::2].mean(0), atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_last_row_of_six_by_ten_sees_nothing(library):
    """The shape of pytorch#103749: heads 2, six queries, ten keys, the last row empty."""
    q, k, v = arrays(library, 6, 10, heads=2)
    mask = am.q < 5
    output = np.asarray(am.attention(q, k, v, mask, frame=am.Frame(6, 10, align="start")))
    full = np.asarray(am.attention(q, k, v))
    np.testing.assert_allclose(output[:, :, :5], full[:, :, :5], atol=1e-6)
    np.testing.assert_array_equal(output[:, :, 5], 0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_grouped_heads_use_the_key_head_of_their_group(library):
    random = np.random.default_rng(1)
    q, k = random.standard_normal((1, 4, 3, 2)), random.standard_normal((1, 2, 5, 2))
    v = np.array([10.0, 20.0]).reshape(1, 2, 1, 1) * np.ones((1, 2, 5, 1))
    convert = LIBRARIES[library]
    output = am.attention(*(convert(array.astype("float32")) for array in (q, k, v)))
    np.testing.assert_allclose(np.asarray(output)[0, :, 0, 0], [10, 10, 20, 20], rtol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
def test_scale(library):
    q, k, v = arrays(library, 2, 3)
    half = am.attention_weights(q * 0.5, k, scale=1.0)
    np.testing.assert_allclose(np.asarray(am.attention_weights(q, k)), np.asarray(half), atol=1e-6)
    output = am.attention(q, k, v, scale=0.0)
    np.testing.assert_allclose(np.asarray(output)[0, 0, 1], np.asarray(v)[0, 0].mean(0), atol=1e-6)


def test_result_keeps_library_and_dtype():
    for library, convert in LIBRARIES.items():
        q = convert(np.ones((1, 1, 2, 4), "float16"))
        for result in (am.attention(q, q, q, am.causal()), am.attention_weights(q, q, am.causal())):
            assert type(result).__module__.partition(".")[0].startswith(library), library
            assert "float16" in str(result.dtype), library


def test_whole_numbers_of_numpy_become_float64():
    q = np.ones((1, 1, 2, 4), int)
    assert am.attention(q, q, q).dtype == np.float64


def test_one_length_for_every_sequence():
    """A table for a batch of 1 is for every sequence of q."""
    q = np.ones((3, 1, 4, 2))
    np.testing.assert_array_equal(am.attention_weights(q, q, am.padding([2]))[2, 0, 0], [0.5, 0.5, 0, 0])


def test_frame_may_be_a_length():
    q = np.ones((1, 1, 3, 2))
    np.testing.assert_array_equal(am.attention(q, q, q, am.causal(), frame=3), np.ones((1, 1, 3, 2)))


def refused(error, text, *args, **kwargs):
    with pytest.raises(error) as caught:
        am.attention(*args, **kwargs)
    assert str(caught.value) == text


Q = np.ones((2, 4, 3, 8))
BOOLS_FIX = (
    "Write am.table(array) for booleans with True = visible, am.read(array, framework) for a framework's own mask, "
    "am.trace(function) for a function of positions."
)


def test_refusals_of_masks():
    text = f"mask is a Mask or None; got ndarray of bool, (3, 3). {BOOLS_FIX}"
    refused(InputError, text, Q, Q, Q, np.tri(3, dtype=bool))
    text = f"mask is a Mask or None; got Tensor of torch.float32, (3, 3). {BOOLS_FIX}"
    refused(InputError, text, Q, Q, Q, torch.zeros(3, 3))
    refused(InputError, f"mask is a Mask or None; got function. {BOOLS_FIX}", Q, Q, Q, lambda b, h, q, k: q >= k)
    text = "the batch of the mask is 1 or that of q; got batch 3 in padding([1, 2, 3]), 2 in q. Build the mask for batch 2."
    refused(FrameError, text, Q, Q, Q, am.padding([1, 2, 3]))
    heads = am.table(np.ones((1, 3, 3, 3), bool))
    with pytest.raises(FrameError, match=r"the heads of the mask is 1 or that of q; got heads 3 in .*, 4 in q"):
        am.attention(Q, Q, Q, heads)


def test_refusals_of_frames():
    text = (
        "the frame has the kv_len of q and k; got Frame(3, 5) for q (2, 4, 3, 8), k (2, 4, 3, 8). "
        "Write Frame(3, 3, q_start=...)."
    )
    refused(FrameError, text, Q, Q, Q, am.causal(), frame=am.Frame(3, 5))
    text = (
        "the frame has the batch of q and k; got Frame(3, batch=1) for q (2, 4, 3, 8), k (2, 4, 3, 8). "
        "Write Frame(3, 3, q_start=...)."
    )
    refused(FrameError, text, Q, Q, Q, am.causal(), frame=am.Frame(3, batch=1))
    with pytest.raises(FrameError, match="needs to know where the first query stands"):
        am.attention(Q[:, :, :1], Q, Q, am.causal())
    assert am.attention(Q[:, :, :1], Q, Q, am.padding([2, 3])).shape == (2, 4, 1, 8)


def test_refusals_of_arrays():
    refused(
        InputError,
        "q is (batch, heads, q_len, dim); got shape (3, 8). Add the missing axes, array[None, None].",
        Q[0, 0], Q, Q,
    )  # fmt: skip
    refused(
        InputError,
        "k is (batch, kv_heads, kv_len, dim); got list. Give an array of NumPy, torch or JAX.",
        Q, Q.tolist(), Q,
    )  # fmt: skip
    refused(
        InputError,
        "q and k have one batch and one dim; got q (2, 4, 3, 8), k (2, 4, 8, 3), v (2, 4, 3, 8). "
        "q is (batch, heads, q_len, dim) and k is (batch, kv_heads, kv_len, dim); look for a transpose.",
        Q, Q.swapaxes(2, 3), Q,
    )  # fmt: skip
    refused(
        InputError,
        "v has the batch, heads and length of k; got q (2, 4, 3, 8), k (2, 4, 3, 8), v (2, 4, 2, 8). "
        "k is (batch, kv_heads, kv_len, dim) and v is (batch, kv_heads, kv_len, dim_v); check v.",
        Q, Q, Q[:, :, :2],
    )  # fmt: skip
    refused(
        InputError,
        "the heads of k divide those of q; got 4 and 3 heads, q (2, 4, 3, 8), k (2, 3, 3, 8), v (2, 3, 3, 8). "
        "Query head i uses key head i // (heads // kv_heads); give k and v heads that divide.",
        Q, Q[:, :3], Q[:, :3],
    )  # fmt: skip
    whole = torch.ones(1, 1, 2, 2, dtype=torch.int64)
    text = "q, k and v are floating-point numbers; got q of torch.int64. Convert it to float."
    refused(InputError, text, whole, whole, whole)
    with pytest.raises(InputError, match="arrays belong to one library"):
        am.attention(torch.ones(2, 4, 3, 8), jnp.ones((2, 4, 3, 8)), torch.ones(2, 4, 3, 8))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
def test_nested_tensors_are_refused(layout):
    nested = torch.nested.nested_tensor([torch.ones(2, 3, 8), torch.ones(2, 5, 8)], layout=torch.strided)
    if layout is torch.jagged:
        parts = [torch.ones(3, 2, 8), torch.ones(5, 2, 8)]
        nested = torch.nested.nested_tensor(parts, layout=torch.jagged).transpose(1, 2)
    padded = torch.ones(2, 2, 5, 8)
    text = (
        "{} is one array {}; got a nested tensor of layout " + str(layout) + ". "
        "Lay the sequences side by side along the length, values()[None].transpose(1, 2) of a jagged one "
        "(sequences, length, heads, dim), with mask & am.documents(lengths=offsets().diff())."
    )
    refused(InputError, text.format("q", "(batch, heads, q_len, dim)"), nested, nested, nested, am.causal())
    refused(InputError, text.format("k", "(batch, kv_heads, kv_len, dim)"), padded, nested, nested, am.causal())
    refused(InputError, text.format("v", "(batch, kv_heads, kv_len, dim_v)"), padded, padded, nested, am.causal())


def test_what_is_said_instead_of_nested_tensors():
    parts = [torch.randn(length, 2, 8) for length in (3, 5)]
    jagged = torch.nested.nested_tensor(parts, layout=torch.jagged)
    row = jagged.values()[None].transpose(1, 2)
    output = am.attention(row, row, row, am.causal() & am.documents(lengths=jagged.offsets().diff()))
    alone = [am.attention(*[part.transpose(0, 1)[None]] * 3, am.causal()) for part in parts]
    torch.testing.assert_close(output, torch.cat(alone, 2))


def test_refusals_of_engines():
    text = "engine is one of cpu, flash_attn, flex, jax, numpy, torch; got 'cuda'. Leave engine out to take the one of the arrays' library."
    refused(InputError, text, Q, Q, Q, engine="cuda")
    text = (
        "the engine 'torch' computes with arrays of torch; got arrays of numpy. "
        "Convert q, k and v to torch, or leave engine out."
    )
    refused(InputError, text, Q, Q, Q, engine="torch")


def test_numpy_needs_no_framework():
    code = (
        "import sys, numpy as np, attnmask as am; q = np.ones((1, 1, 2, 2)); am.attention(q, q, q, am.causal()); "
        "am.frameworks(); am.export(am.causal(), 'tensorflow', 2); am.read(np.tri(2) == 0, 'torch.mha'); "
        "sys.exit(bool({'torch', 'jax', 'tensorflow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("scale", [0.0, -1.0])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
@pytest.mark.parametrize("mask", [am.causal(), am.causal() & am.documents(lengths=[40, 24]), am.window(3) & (am.q > 1)])
@pytest.mark.usefixtures("_each_engine")
def test_scales_that_are_not_positive(mask, dtype, scale):
    """torch's kernel for the CPU multiplies the -inf of its is_causal by the scale."""
    torch = pytest.importorskip("torch")
    frame, dtype = am.Frame(64), getattr(torch, dtype)
    arrays = torch.randn(4, 2, 2, 64, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    given = [array.clone().requires_grad_() for array in arrays[:3]]
    output = am.attention(*given, mask, scale=scale)
    found = output, *torch.autograd.grad(output, given, arrays[3])
    exact = arrays.double().numpy()
    right = oracle.attention(*exact[:3], mask, frame, scale), *oracle.gradients(*exact, mask, frame, scale)
    allowed = 60 * torch.finfo(dtype).eps
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one.detach().double().numpy(), other, rtol=allowed, atol=allowed)
