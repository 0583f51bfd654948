"""FlexAttention on the CPU: what is compiled, what is kept, what is refused. Compiling takes seconds, so it is done little."""

import re

import pytest

import attnmask as am
from attnmask.errors import InputError
from attnmask.run.engines.flex import engine as flex
from attnmask.run.engines.flex import torch_compiled
from attnmask.run.request import Request, Setting

torch = pytest.importorskip("torch")

compiles = pytest.mark.skipif(
    not flex._has_compiler(), reason="torch needs a C++ compiler for FlexAttention on the CPU"
)


def inputs(q_len=200, heads=4, kv_heads=2, dim=8):
    torch.manual_seed(0)
    return [torch.randn(2, count, q_len, dim) for count in (heads, kv_heads, kv_heads)]


@compiles
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # of torch's own compiler
def test_other_tables_of_one_structure_compile_once():
    """Grouped heads, a length that is no multiple of a block, and a sequence of padding alone."""
    torch_compiled._compiled.cache_clear()
    q, k, v = inputs()
    for lengths in ([200, 120], [7, 0]):
        mask = am.causal() & am.padding(lengths)
        output = am.attention(q, k, v, mask, engine="flex")
        torch.testing.assert_close(output, am.attention(q, k, v, mask, engine="torch"), atol=1e-5, rtol=1e-5)
        assert torch.equal(output, am.attention(q, k, v, mask, engine="flex"))
    assert not output[1].any(), "empty rows are exactly 0"
    assert torch_compiled._compiled.cache_info().misses == 1


def test_the_structure_leaves_out_the_numbers_of_tables_only():
    def structure(mask):
        return torch_compiled.fold(mask.node, torch_compiled._WithoutNumbers())

    assert structure(am.padding([3, 2])) == structure(am.padding([1, 4]))
    assert structure(am.padding([3, 2])) != structure(am.padding([3, 2, 1]))
    assert structure(am.window(3)) != structure(am.window(4))
    assert structure(am.graph([[0, 1]], 4)) != structure(am.graph([[0, 1], [1, 2]], 4))
    hash(structure(am.graph([[0, 1]], 4)))


def test_block_masks_are_kept():
    torch_compiled._block_mask.cache_clear()
    for _ in range(2):
        torch_compiled._block_mask(am.causal(), am.Frame(8, q_start=0), torch.device("cpu"))
    assert torch_compiled._block_mask.cache_info().hits == 1


def request(dim=64, **setting):
    return Request("torch", am.causal(), am.Frame(300, q_start=0), 2, 8, 2, dim, dim, Setting(**setting))


def test_refusals(monkeypatch):
    assert flex.refusal(request(dtype="float64")) == "it computes float32, bfloat16, float16, not float64"
    assert flex.refusal(request(device="meta")) == "it runs on cpu and cuda, not on meta"
    assert "no backward pass" in flex.refusal(request(grad=True))
    assert flex.refusal(request(grad=True, device="cuda")) is None
    assert flex.refusal(request(dim=8, device="cuda")) == "on a GPU dim is at least 16, not 8"
    assert flex.refusal(request(transformed=True, device="cuda")) == "torch.func cannot look into it"
    monkeypatch.setattr(flex.shutil, "which", lambda name: None)
    assert "C++ compiler" in flex.refusal(request())


@pytest.mark.parametrize("grad", [True, False])
def test_an_explicit_engine_never_falls_back(grad):
    """The same shapes and mask, with and without a gradient, are two calls."""
    q, k, v = (array.requires_grad_(grad) for array in inputs(8))
    text = "the engine 'flex' must be able to run the call; got on the CPU it has no backward pass; call it under torch.no_grad(). Leave engine out to take one that can."
    if grad:
        with pytest.raises(InputError, match=re.escape(text)):
            am.attention(q, k, v, am.causal(), engine="flex")
    with pytest.raises(InputError, match="not float64"):
        am.attention(*(array.double() for array in (q, k, v)), engine="flex")
    vmapped = torch.func.vmap(lambda q: am.attention(q, q, q, am.causal(), engine="flex"))
    with pytest.raises(InputError, match=r"torch\.func cannot look into it|no backward pass"):
        vmapped(q[:, None])


def test_inside_torch_compile_it_is_refused():
    q = inputs(8, heads=1, kv_heads=1)[0]
    compiled = torch.compile(lambda q: am.attention(q, q, q, am.causal(), engine="flex"), backend="eager")
    with pytest.raises(Exception, match=r"it does not run inside torch.compile; hand am.export"):
        compiled(q)


def test_its_work_counts_blocks():
    work = flex.work(request())
    assert work.words == "1 call of flex_attention over 6 blocks of 128 x 128, 1 of them without a mask"
    assert work.computed == 16 * 6 * 128**2
