"""Attention behaves as ``scaled_dot_product_attention`` does under everything that torch can do to a function.

The masks take each way through torch's kernels: the one that knows the mask, one call on some keys, pieces, one call
with a mask, and a selection; our own kernel takes all but the last. What SDPA computes with the same mask as an array is what is expected, and what it refuses may
be refused.
"""

import re
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import attnmask as am
from attnmask.errors import InputError
from attnmask.run.engines.torch.ways import FEW_PAIRS, cheapest
from attnmask.run.machine import Machine
from attnmask.run.request import Request

N = 560
assert N * N > FEW_PAIRS
STEPS = (0, 11, 23, 47, 101, 211, 307, 401)
EDGES = [[place, (place * 37 + step) % (N + 10)] for place in range(N + 10) for step in STEPS]

MASKS = {
    "everything": am.everything(),
    "causal": am.causal(),
    "single": am.padding([400]),
    "pieces": am.causal() & am.window(40),
    "pieces with tables": am.causal() & am.padding([N, 120]),
    "pairs one by one": am.graph(EDGES, N + 10),
    "dense": (am.q * am.q * 7 + am.k * am.k * 3) % 5 < 4,
    "selection": am.causal() & am.top_k_blocks(4, 16),
}
PIECES = {"pieces", "pieces with tables", "pairs one by one"}
EACH_ENGINE = pytest.mark.usefixtures("_each_engine")
EVERY_MASK = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
NO_BATCHING_RULE = pytest.mark.filterwarnings("ignore:There is a performance drop")  # SDPA's own


def inputs(dtype=torch.float32, *, grad=True, n=N, kv_heads=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    heads = [4, kv_heads, kv_heads]
    return [torch.randn(2, each, n, 16, generator=generator, dtype=dtype).requires_grad_(grad) for each in heads]


def attend(mask):
    return lambda q, k, v: am.attention(q, k, v, mask)


def reference(mask):
    """SDPA with an array; for a selection that of the pairs it takes from the same q and k."""

    def call(q, k, v):
        n = q.shape[2]
        if isinstance(mask, am.Selection):
            visible = am.attention_weights(q.detach(), k.detach(), mask) > 0
        else:
            visible = torch.tensor(mask.dense(am.Frame(n)))
        empty = ~visible.any(-1, keepdim=True)
        output = scaled_dot_product_attention(q, k, v, attn_mask=visible | empty, enable_gqa=True)
        return output.masked_fill(empty, 0.0)

    return call


def results(function, arrays, *, wanted=None):
    """The output, and the gradients of the arrays that want one."""
    output = function(*arrays)
    wanted = [array for array in arrays if array.requires_grad] if wanted is None else wanted
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output.detach(), *torch.autograd.grad((output * weights).sum(), wanted)]


def assert_same(mask, arrays, function=None, **tolerances):
    right = results(reference(mask), arrays)
    given = results(function or attend(mask), arrays)
    for one, other in zip(given, right, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, **(tolerances or {"rtol": 2e-4, "atol": 2e-5}))


am.attention(*inputs(), am.window(2))  # imports the engine: see the tests of first calls


def test_each_way_is_taken():
    def way(mask):
        return cheapest(Request("torch", mask, am.Frame(N), 2, 4, 4, 16, 16, machine=Machine("avx512", 32))).name

    chosen = {name: way(mask) for name, mask in MASKS.items() if name != "selection"}
    assert chosen["single"] in ("plain", "keys")
    assert chosen["dense"] == "dense"
    assert [chosen[name] for name in sorted(PIECES)] == ["edges", "blocks", "blocks"]


# Layouts of the inputs.

LAYOUTS = {
    "heads last": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "dim first": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every other row": lambda x: x.repeat_interleave(2, 2)[:, :, ::2],
    "every other number": lambda x: x.repeat_interleave(2, 3)[..., ::2],
    "part of a larger one": lambda x: torch.nn.functional.pad(x, (3, 2, 5, 1))[:, :, 5:-1, 3:-2],
    "one batch for all": lambda x: x[:1].expand(2, -1, -1, -1),
    "one head for all": lambda x: x[:, :1].expand(-1, x.shape[1], -1, -1),
    "one row for all": lambda x: x[:, :, :1].expand(-1, -1, x.shape[2], -1),
}


@EACH_ENGINE
@EVERY_MASK
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layouts(mask, layout):
    if isinstance(mask, am.Selection) and layout is LAYOUTS["one row for all"]:
        mask = am.causal() & am.top_k(5)  # equal keys: blocks rank by rounding
    assert_same(mask, [layout(array.detach()).requires_grad_() for array in inputs()])


@EACH_ENGINE
@EVERY_MASK
@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 2), ()])
def test_some_want_no_gradient(mask, which):
    arrays = [array.detach().requires_grad_(place in which) for place, array in enumerate(inputs())]
    if which:
        assert_same(mask, arrays)
    else:
        assert not am.attention(*arrays, mask).requires_grad


@EACH_ENGINE
@EVERY_MASK
def test_gradient_that_is_expanded(mask):
    """``output.sum()`` sends back one number for all, with stride 0."""
    given, right = (
        torch.autograd.grad(function(*(arrays := inputs())).sum(), arrays)
        for function in (attend(mask), reference(mask))
    )
    torch.testing.assert_close(given, right, rtol=2e-4, atol=2e-5)


@EACH_ENGINE
@EVERY_MASK
def test_gradients_accumulate_and_inputs_stay(mask):
    arrays, before = inputs(), inputs(grad=False)
    for _ in range(2):
        am.attention(*arrays, mask).square().sum().backward()
    single = torch.autograd.grad(am.attention(*(again := inputs()), mask).square().sum(), again)
    for array, old, gradient in zip(arrays, before, single, strict=True):
        assert torch.equal(array, old)
        torch.testing.assert_close(array.grad, 2 * gradient)


# Modes.


@EACH_ENGINE
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("of_inputs", [torch.float32, torch.float64, torch.bfloat16])
def test_autocast(mask, dtype, of_inputs):
    arrays = inputs(of_inputs)
    with torch.autocast("cpu", dtype=dtype):
        output, right = am.attention(*arrays, mask), reference(mask)(*arrays)
    assert output.dtype == right.dtype
    if not isinstance(mask, am.Selection):  # which ranks in float32 what was rounded; the reference does not
        torch.testing.assert_close(output.float(), right.float(), rtol=0.02, atol=0.02)
    for gradient, array in zip(torch.autograd.grad(output.float().sum(), arrays), arrays, strict=True):
        assert gradient.dtype == array.dtype
        assert gradient.isfinite().all()


@EACH_ENGINE
@EVERY_MASK
def test_inference_then_training(mask):
    arrays = inputs(n=N + 1)  # a frame that no other test has: all that is kept is made in inference mode
    with torch.inference_mode():
        first = am.attention(*arrays, mask) if "b" not in depends_on(mask) else None
    with torch.no_grad():
        am.attention(*arrays, mask)
    assert_same(mask, arrays)
    if first is not None:
        torch.testing.assert_close(first.clone(), am.attention(*arrays, mask).detach())


def depends_on(mask):
    return (mask.mask if isinstance(mask, am.Selection) else mask).depends_on


@EACH_ENGINE
@EVERY_MASK
def test_deterministic_algorithms(mask):
    torch.use_deterministic_algorithms(True)
    try:
        first, again = (results(attend(mask), inputs()) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)


@EACH_ENGINE
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_under_another_default_device_and_dtype(mask):
    arrays = inputs()
    right = am.attention(*arrays, mask)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            output = am.attention(*arrays, mask)
            assert am.attention(*(array.to("meta") for array in arrays), mask).device.type == "meta"
    finally:
        torch.set_default_dtype(torch.float32)
    assert output.device.type == "cpu"
    torch.testing.assert_close(output, right)


def state():
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": (
            torch.is_autocast_enabled("cpu"),
            torch.get_autocast_dtype("cpu"),
            torch.is_autocast_cache_enabled(),
        ),
        "precision": torch.get_float32_matmul_precision(),
        "kernels": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "random": torch.get_rng_state().tolist(),
    }


@EACH_ENGINE
@EVERY_MASK
@pytest.mark.parametrize("grad", [True, False])
def test_no_global_state_is_changed(mask, grad):
    with torch.set_grad_enabled(grad):
        before = state()
        output = am.attention(*inputs(), mask)
        if grad:
            output.sum().backward()
        am.attention_weights(*inputs()[:2], mask)
        assert state() == before


# Transforms.


@NO_BATCHING_RULE
@EVERY_MASK
def test_vmap(mask):
    batches = [torch.stack(pair) for pair in zip(inputs(grad=False), inputs(grad=False, seed=1), strict=True)]
    output = torch.func.vmap(attend(mask))(*batches)
    for number in range(2):
        torch.testing.assert_close(output[number], am.attention(*(batch[number] for batch in batches), mask))


@NO_BATCHING_RULE
@EVERY_MASK
def test_grad_and_gradients_per_sample(mask):
    arrays = inputs(grad=False)

    def loss(*arrays):
        return am.attention(*arrays, mask).square().sum()

    wanted = [array.clone().requires_grad_() for array in arrays]
    right = torch.autograd.grad(loss(*wanted), wanted)
    torch.testing.assert_close(torch.func.grad(loss, (0, 1, 2))(*arrays), right, rtol=2e-4, atol=2e-5)
    stacked = [torch.stack([array, array]) for array in arrays]
    each = torch.func.vmap(torch.func.grad(loss, (0, 1, 2)))(*stacked)
    torch.testing.assert_close([part[1] for part in each], list(right), rtol=2e-4, atol=2e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own
@EVERY_MASK
def test_forward_mode(mask):
    """SDPA on the CPU has none, but its plain formula, which attention takes; so has a selection."""
    arrays = inputs(torch.float64, grad=False, n=140)
    if "b" in depends_on(mask):
        mask = am.causal() & am.padding([140, 60])
    tangents = tuple(inputs(torch.float64, grad=False, n=140, seed=1))
    given = torch.func.jvp(attend(mask), tuple(arrays), tangents)
    with torch.autograd.forward_ad.dual_level():
        duals = [torch.autograd.forward_ad.make_dual(*pair) for pair in zip(arrays, tangents, strict=True)]
        dual = torch.autograd.forward_ad.unpack_dual(am.attention(*duals, mask))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        right = torch.func.jvp(reference(mask), tuple(arrays), tangents)
    torch.testing.assert_close(given, right)
    torch.testing.assert_close(tuple(dual), right)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own
def test_engines_that_have_no_forward_mode_refuse_it():
    q, tangent = torch.randn(2, 1, 2, 40, 16)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(q, tangent)
        for engine in ("cpu", "flex"):
            with pytest.raises(InputError, match=f"the engine '{engine}' must be able to run the call"):
                am.attention(dual, dual, dual, MASKS["pieces"], engine=engine)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own
@EVERY_MASK
def test_second_derivatives_of_torch_func(mask):
    """Twice backward, and forward over backward."""
    x, tangent = (inputs(torch.float64, grad=False, kv_heads=4, n=140, seed=seed)[0] for seed in (0, 1))
    if "b" in depends_on(mask):
        mask = am.causal() & am.padding([140, 60])

    def products(function):
        first = torch.func.grad(lambda x: function(x, x, x).sin().sum())
        twice = torch.func.grad(lambda x: (first(x) * tangent).sum())(x)
        return twice, torch.func.jvp(first, (x,), (tangent,))[1]

    given = products(attend(mask))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        visible = mask
        if isinstance(mask, am.Selection):  # the reference cannot look at numbers inside a transform
            visible = am.table((am.attention_weights(x, x, mask) > 0).numpy())
        torch.testing.assert_close(given, products(reference(visible)))


def second(function, arrays):
    """The derivatives of a penalty on the gradients."""
    first = torch.autograd.grad(function(*arrays).square().sum(), arrays, create_graph=True)
    return torch.autograd.grad(sum(part.square().sum() for part in first), arrays)


@EACH_ENGINE
@pytest.mark.parametrize(
    "name",
    MASKS,
)
def test_second_derivatives_are_computed_or_refused(name):
    """SDPA's kernel on the CPU has none and says so; leaving a term out in silence would be wrong.

    x is reached both through attention and past it, so that a term which is left out raises nothing by itself.
    """
    x = inputs(kv_heads=4)[0]
    mask = MASKS[name]

    def past_and_through(x):
        return am.attention(x, x, x, mask) + x * x

    if name == "selection":
        right = second(lambda x: reference_formula(mask, x) + x * x, [x])
        torch.testing.assert_close(second(past_and_through, [x]), right, rtol=1e-3, atol=1e-2)
    else:
        text = (
            "fused kernels give first derivatives of attention under a mask; got a second derivative. "
            "Call attention under torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)."
        )
        with pytest.raises(InputError, match=re.escape(text)):
            second(past_and_through, [x])
        grad = torch.func.grad(lambda y: past_and_through(y).square().sum())
        with pytest.raises(InputError, match=re.escape(text)):
            grad(x).sum().backward()


@EACH_ENGINE
@EVERY_MASK
def test_first_derivatives_with_a_graph_are_the_same(mask):
    arrays = inputs()
    plain = torch.autograd.grad(am.attention(*arrays, mask).square().sum(), arrays)
    kept = torch.autograd.grad(am.attention(*arrays, mask).square().sum(), arrays, create_graph=True)
    torch.testing.assert_close(plain, tuple(part.detach() for part in kept))


def reference_formula(mask, x):
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return reference(mask)(x, x, x)


@pytest.mark.parametrize(
    "name",
    MASKS,
)
def test_second_derivatives_of_the_plain_formula(name):
    """``sdpa_kernel(MATH)`` is how one asks SDPA for them."""
    x, mask = inputs(kv_heads=4)[0], MASKS[name]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        given, right = (second(lambda x, f=f: f(x, x, x) + x * x, [x]) for f in (attend(mask), reference(mask)))
    torch.testing.assert_close(given, right, rtol=1e-3, atol=1e-2)


# torch.compile.


@pytest.mark.usefixtures("_fresh_compiler")
@EVERY_MASK
@pytest.mark.parametrize("dynamic", [None, True])
def test_compiled_as_one_graph(mask, dynamic):
    """Forward and backward, for lengths that are held open: sizes become constants, and other ones compile again."""
    compiled = torch.compile(attend(mask), fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for n in (N, N + 10):
        arrays = inputs(n=n)
        given, right = results(compiled, arrays), results(attend(mask), arrays)
        torch.testing.assert_close(given, right, rtol=2e-4, atol=2e-5)


@pytest.mark.usefixtures("_fresh_compiler")
@EVERY_MASK
def test_compiled_weights(mask):
    compiled = torch.compile(
        lambda q, k: am.attention_weights(q, k, mask), fullgraph=True, backend="aot_eager", dynamic=True
    )
    q, k, _ = inputs(grad=False)
    torch.testing.assert_close(compiled(q, k), am.attention_weights(q, k, mask))


def in_a_new_process(code):
    start = "import torch, attnmask as am; q = torch.ones(1, 1, 4, 8); "
    subprocess.run([sys.executable, "-c", start + code], check=True, capture_output=True)


def test_first_call_of_a_process_may_be_transformed():
    in_a_new_process("torch.func.grad(lambda q: am.attention(q, q, q, am.window(1)).sum())(q)")


@pytest.mark.parametrize(
    "mask",
    [
        "causal()",
        "causal() & am.top_k(3)",
    ],
)
def test_first_call_of_a_process_may_be_compiled(mask):
    in_a_new_process(f"torch.compile(lambda q: am.attention(q, q, q, am.{mask}), fullgraph=True, backend='eager')(q)")


@NO_BATCHING_RULE
@pytest.mark.parametrize("mask", [am.padding([30, 12]) & am.causal(), MASKS["dense"], am.graph([[0, 1], [7, 3]], 40)])
def test_what_is_kept_of_a_mask_inside_a_transform_serves_outside(mask):
    q = inputs(grad=False, n=40)[0]
    first = torch.func.grad(lambda q: am.attention(q, q, q, mask).sum())(q)
    second = torch.func.vmap(torch.func.grad(lambda q: am.attention(q, q, q, mask).sum()))(q[None])[0]
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(am.attention(q, q, q, mask, engine="torch"), reference(mask)(q, q, q))
