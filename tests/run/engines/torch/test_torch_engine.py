"""What torch adds: torch.compile, autocast, tensors that are not contiguous, and gradients beside empty rows."""

import pytest

import attnmask as am

torch = pytest.importorskip("torch")

PADDED = am.padding([3, 0])  # the second sequence is all padding
MASKS = [None, am.causal(), am.window(2, 1), am.causal() & PADDED, am.documents([[0, 0, 1, 1, 1], [0, 1, 1, 2, 2]])]


def inputs(q_len=5, dtype=torch.float32):
    torch.manual_seed(0)
    return [torch.randn(2, 2, q_len, 4, dtype=dtype, requires_grad=True) for _ in range(3)]


def gradients(function, arrays):
    return torch.autograd.grad(function(*arrays).square().sum(), arrays)


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("mask", [am.causal(), am.window(2, 1), am.causal() & PADDED], ids=str)
def test_compiled_as_one_graph(mask):
    def two_layers(q, k, v):
        return am.attention(am.attention(q, k, v, mask), k, v, mask)

    arrays = inputs()
    compiled = torch.compile(two_layers, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arrays), two_layers(*arrays))
    torch.testing.assert_close(gradients(compiled, arrays), gradients(two_layers, arrays))


@pytest.mark.usefixtures("_fresh_compiler")
def test_another_mask_compiles_again():
    """Were the mask of the first call kept, the second would leak."""
    compiled = torch.compile(lambda q, k, v, mask: am.attention(q, k, v, mask), fullgraph=True, backend="eager")
    q, k, v = inputs()
    for lengths in ([3, 2], [2, 3], [3, 2], [1, 5]):
        mask = am.padding(lengths)
        torch.testing.assert_close(compiled(q, k, v, mask), am.attention(q, k, v, mask))


@pytest.mark.usefixtures("_fresh_compiler")
def test_mask_combined_inside_the_graph():
    compiled = torch.compile(lambda q: am.attention(q, q, q, am.causal() & PADDED), fullgraph=True, backend="eager")
    q = inputs()[0]
    torch.testing.assert_close(compiled(q), am.attention(q, q, q, am.causal() & PADDED))


@pytest.mark.usefixtures("_fresh_compiler")
def test_other_lengths_compile_again():
    compiled = torch.compile(lambda q: am.attention(q, q, q, PADDED), fullgraph=True, backend="eager")
    for q_len in (4, 6, 7):
        q = inputs(q_len)[0]
        torch.testing.assert_close(compiled(q), am.attention(q, q, q, PADDED))


@pytest.mark.usefixtures("_fresh_compiler")
def test_exported_mask_needs_no_second_compilation():
    """The advice of the docstring of attention."""
    counter = torch._dynamo.testing.CompileCounter()

    @torch.compile(fullgraph=True, backend=counter)
    def attend(q, attn_mask):
        return torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=attn_mask)

    q = inputs()[0].detach()
    for lengths in ([3, 2], [2, 3], [5, 1]):
        mask = am.padding(lengths)
        torch.testing.assert_close(attend(q, **am.export(mask, "torch.sdpa", 5)), am.attention(q, q, q, mask))
    assert counter.frame_count == 1


def test_sequence_of_padding_alone_is_zero_and_learns_nothing():
    arrays = inputs()
    output = am.attention(*arrays, am.causal() & PADDED)
    assert torch.equal(output[1], torch.zeros_like(output[1]))
    for gradient in torch.autograd.grad(output.sum(), arrays):
        assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))
        assert gradient[0].isfinite().all()


@pytest.mark.parametrize("function", ["output", "weights"])
def test_no_nan_on_the_way_back(function):
    """torch's anomaly detection stops at a NaN anywhere in the backward pass, also one that is masked later."""
    q, k, v = inputs()
    with torch.autograd.set_detect_anomaly(True):
        mask = am.causal() & PADDED
        result = am.attention(q, k, v, mask) if function == "output" else am.attention_weights(q, k, mask)
        for gradient in torch.autograd.grad(result.square().sum(), (q, k)):
            assert not gradient[1].any()


def test_left_padding_with_causal_has_finite_gradients():
    """Rows of padding are empty; a loss on all rows must still learn (pytorch#41508)."""
    mask = am.causal() & am.padding([2, 5], side="left", kv_len=5)
    for gradient in gradients(lambda q, k, v: am.attention(q, k, v, mask), inputs()):
        assert gradient.isfinite().all()
        assert not gradient[0, :, :3].any()  # three pads in the first sequence


def test_second_derivatives_beside_empty_rows():
    arrays = inputs(q_len=3, dtype=torch.float64)
    mask = am.padding([0, 2]) & am.window(1)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert torch.autograd.gradgradcheck(lambda q, k, v: am.attention(q, k, v, mask), arrays)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_autocast(mask):
    arrays = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = am.attention(*arrays, mask)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), am.attention(*arrays, mask), atol=0.03, rtol=0.03)


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_heads_last_views(mask):
    """(batch, q_len, heads, dim) seen as (batch, heads, q_len, dim): strides are not contiguous."""
    arrays = [array.detach().transpose(1, 2).contiguous().transpose(1, 2) for array in inputs()]
    assert not arrays[0].is_contiguous()
    expected = am.attention(*(array.contiguous() for array in arrays), mask)
    torch.testing.assert_close(am.attention(*arrays, mask), expected)


def test_no_grad_and_inference_mode_leave_no_trace():
    """Tables are kept as tensors between calls; one made in inference mode must still serve training."""
    mask = am.documents([[0, 1, 1, 2, 2], [0, 0, 0, 0, 1]]) & am.causal()
    arrays = inputs()
    with torch.inference_mode():
        first = am.attention(*arrays, mask)
    torch.testing.assert_close(am.attention(*arrays, mask), first.clone())
    assert all(gradient.isfinite().all() for gradient in gradients(lambda *qkv: am.attention(*qkv, mask), arrays))


def test_causal_takes_the_path_without_a_mask_array(monkeypatch):
    seen = []
    from attnmask.run.engines.torch import engine

    def recorded(*args, **kwargs):
        seen.append(kwargs)
        return args[0]

    monkeypatch.setattr(engine, "scaled_dot_product_attention", recorded)
    q, k, v = inputs()
    am.attention(q, k, v, am.causal(), engine="torch")
    am.attention(q, k, v, am.trace(lambda b, h, q, k: k <= q), engine="torch")
    am.attention(q, k, v, engine="torch")
    am.attention(q, k, v, am.causal(), frame=am.Frame(5, q_start=1), engine="torch")
    assert [("is_causal" in call, "attn_mask" in call) for call in seen] == [
        (True, False), (True, False), (False, False), (False, True),
    ]  # fmt: skip


def test_under_the_default_device():
    with torch.device("meta"):
        q = torch.ones(1, 1, 3, 2)
        assert am.attention(q, q, q, am.window(1)).device.type == "meta"
