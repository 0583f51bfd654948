"""Mask objects of frameworks: taken exactly as they are, or refused by name."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameworkError

torch = pytest.importorskip("torch")


def xformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("xformers.ops.fmha.attn_bias", exc_type=ImportError)


def both(value):
    """What SDPA and MultiheadAttention are told, whose booleans are opposite."""
    return am.read(value, "torch.sdpa"), am.read(value, "torch.mha")


@pytest.mark.parametrize(("q_len", "kv_len"), [(2, 5), (4, 4), (3, 4)])
@pytest.mark.parametrize("variant", ["causal_upper_left", "causal_lower_right"])
def test_causal_biases_of_torch(variant, q_len, kv_len):
    from torch.nn.attention import bias

    value = getattr(bias, variant)(q_len, kv_len)
    expected = value._materialize().numpy()
    frame = am.Frame(q_len, kv_len, q_start=0)
    for mask in both(value):
        np.testing.assert_array_equal(mask.dense(frame)[0, 0], expected)
    assert am.diagnose(value) == []
    align = "start" if variant == "causal_upper_left" else "end"
    np.testing.assert_array_equal(expected, am.causal().dense(am.Frame(q_len, kv_len, align=align))[0, 0])


# Two sequences: of 2 queries with 3 keys, and of 1 query with 2 keys; where their keys stand, and the keys that each
# of the three queries sees, written by hand.
CLOSE = {"kv_seqlen": [3, 2]}
PADDED = {"kv_padding": 4, "kv_seqlen": [3, 2]}
GAPPY = {"kv_seqstarts": [0, 4, 8], "kv_seqlen": [3, 2]}
PAGED = {"kv_seqlen": [3, 2], "block_tables": torch.tensor([[0, 2], [1, 3]]), "page_size": 2}
SEEN = [
    ("BlockDiagonalMask", CLOSE, [[0, 1, 2], [0, 1, 2], [3, 4]]),
    ("BlockDiagonalCausalMask", CLOSE, [[0], [0, 1], [3]]),
    ("BlockDiagonalPaddedKeysMask", PADDED, [[0, 1, 2], [0, 1, 2], [4, 5]]),
    ("BlockDiagonalCausalWithOffsetPaddedKeysMask", PADDED, [[0, 1], [0, 1, 2], [4, 5]]),
    ("BlockDiagonalGappyKeysMask", GAPPY, [[0, 1, 2], [0, 1, 2], [4, 5]]),
    ("BlockDiagonalCausalWithOffsetGappyKeysMask", GAPPY, [[0, 1], [0, 1, 2], [4, 5]]),
    ("PagedBlockDiagonalPaddedKeysMask", PAGED, [[0, 1, 4], [0, 1, 4], [2, 3]]),
    ("PagedBlockDiagonalCausalWithOffsetPaddedKeysMask", PAGED, [[0, 1], [0, 1, 4], [2, 3]]),
]


@pytest.mark.parametrize(("name", "keys", "seen"), SEEN, ids=[name for name, *_ in SEEN])
def test_biases_of_xformers(name, keys, seen):
    value = getattr(xformers(), name).from_seqlens(q_seqlen=[2, 1], **keys)
    for mask in both(value):
        array = mask.dense(am.Frame(3, 5 if keys is CLOSE else 8, q_start=0))[0, 0]
        assert [np.flatnonzero(row).tolist() for row in array] == seen
    assert am.diagnose(value) == []


def test_a_bias_of_xformers_that_holds_an_array():
    value = xformers().LowerTriangularMaskWithTensorBias(torch.zeros(1, 2, 4, 4))
    assert am.recognize(am.read(value, "torch.sdpa")) == am.causal()


@pytest.mark.parametrize(
    ("name", "arguments", "fix"),
    [
        ("LowerTriangularMask", {}, "Write am.causal(), with the first query at q_start=0"),
        ("LowerTriangularFromBottomRightMask", {}, "Write am.causal() with Frame(q_len, kv_len, align='end')"),
        ("LocalAttentionFromBottomRightMask", {"window_left": 2, "window_right": 1}, "Write am.window(window_left"),
        ("LowerTriangularFromBottomRightLocalAttentionMask", {"_window_size": 3}, "Write am.window(window_size - 1)"),
    ],
)
def test_biases_of_xformers_without_lengths_are_refused(name, arguments, fix):
    value = getattr(xformers(), name)(**arguments)
    for call in (lambda: am.diagnose(value), lambda: am.read(value, "torch.sdpa")):
        with pytest.raises(FrameworkError) as caught:
            call()
        assert str(caught.value).startswith(f"a mask is an array, and this bias holds no lengths; got {name}. {fix}")
        assert str(caught.value).endswith("Give value.materialize((q_len, kv_len)) as an array.")


def test_what_the_texts_of_xformers_promise():
    """Their rules, in the words of attnmask."""
    kinds, end = xformers(), am.Frame(4, 9, align="end")
    for value, mask in [
        (kinds.LowerTriangularFromBottomRightMask(), am.causal()),
        (kinds.LocalAttentionFromBottomRightMask(window_left=2, window_right=1), am.window(2, 1)),
        (kinds.LowerTriangularFromBottomRightLocalAttentionMask(3), am.window(2)),
    ]:
        np.testing.assert_array_equal(value.materialize((4, 9)).numpy() == 0, mask.dense(end)[0, 0])


class Answers(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return super().__torch_function__(function, types, args, kwargs)


class Named(torch.Tensor):
    pass


def block_mask():
    return am.export(am.causal(), "torch.flex", 128)["block_mask"]


def nested():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls its own nested tensors a prototype
        return torch.nested.nested_tensor([torch.ones(2, 3), torch.ones(1, 3)], layout=torch.jagged)


def fake():
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.ones(3, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (block_mask, "a BlockMask is a table of blocks and a function; got BlockMask. Write am.read(block_mask, 'torch.flex')"),
        (nested, "a nested tensor holds sequences of several lengths; got NestedTensor. Write am.documents(lengths=[...])"),
        (fake, "this tensor subclass answers for itself: its memory need not be the mask; got FakeTensor."),
        (lambda: torch.ones(3, 3).as_subclass(Answers), "got Answers. Give the tensor that it stands for"),
        (lambda: torch.ones(3, 3, device="meta"), "a tensor on the meta device has a shape and no values"),
        (lambda: np.ma.masked_array(np.eye(3)), "a masked array hides some of its own entries; got MaskedArray."),
        (lambda: lambda b, h, q, k: q >= k, "this is a function of positions; got function. Write am.trace(function)"),
        (am.causal, "a Mask has one only in a frame; got Mask. Write mask.dense(frame)"),
        (object, "a mask is an array; got object, which holds objects. Give its array"),
    ],
)  # fmt: skip
def test_what_is_no_array_is_refused_by_name(make, words):
    value = make()
    for call in (lambda: am.diagnose(value), lambda: am.read(value, "torch.sdpa"), lambda: am.read(value, "torch.mha")):
        with pytest.raises(FrameworkError) as caught:
            call()
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda array: torch.from_numpy(array),
        lambda array: torch.from_numpy(array).to_sparse(),
        lambda array: torch.from_numpy(array).as_subclass(Named),
        lambda array: torch.nn.Parameter(torch.from_numpy(array), requires_grad=False),
        lambda array: pytest.importorskip("scipy.sparse").csr_array(array),
    ],
)
def test_tensors_that_are_what_they_say(make):
    array = np.tri(2, 5, 3, dtype=bool)
    np.testing.assert_array_equal(am.read(make(array), "torch.sdpa").dense(am.Frame(2, 5, q_start=0))[0, 0], array)
    assert am.diagnose(make(array)) == []


def test_a_sparse_bias_of_jax():
    sparse = pytest.importorskip("jax.experimental.sparse")
    bias = np.where(np.tri(2, 5, 3, dtype=bool), 0, -np.inf).astype(np.float32)
    for mask in both(sparse.BCOO.fromdense(bias)):
        np.testing.assert_array_equal(mask.dense(am.Frame(2, 5, q_start=0))[0, 0], bias == 0)


def test_parameters_of_a_model_are_read():
    bias = torch.zeros(3, 3).masked_fill(~torch.ones(3, 3).tril().bool(), -torch.inf)
    assert am.diagnose(torch.nn.Parameter(bias)) == []


def test_masks_of_splash_attention():
    pytest.importorskip("jax")
    splash = pytest.importorskip("jax.experimental.pallas.ops.tpu.splash_attention.splash_attention_mask")
    causal = splash.CausalMask((4, 6))
    for mask in both(causal):
        np.testing.assert_array_equal(mask.dense(am.Frame(4, 6, q_start=0))[0, 0], np.tri(4, 6, dtype=bool))
    assert am.diagnose(splash.MultiHeadMask([causal, causal])) == []


def test_float8_is_read():
    lowest = torch.finfo(torch.float8_e4m3fn).min
    bias = torch.zeros(3, 3).masked_fill(~torch.ones(3, 3).tril().bool(), lowest).to(torch.float8_e4m3fn)
    assert [finding.code for finding in am.diagnose(bias)] == ["weak-fill"]


def test_no_framework_is_imported_to_know_an_object():
    code = "import attnmask as am, numpy as np, sys; am.diagnose(np.eye(3, dtype=bool)); print(sorted({'torch', 'xformers', 'jax'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
