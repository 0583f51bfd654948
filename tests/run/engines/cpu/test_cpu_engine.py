"""attnmask's own kernel gives what the oracle gives, in each of its variants; where it is missing, torch computes."""

import gc
import math
import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest

import attnmask as am
from attnmask.define.fit import fit
from attnmask.errors import InputError
from attnmask.run.engines.cpu import kernel
from attnmask.run.engines.cpu.blocks import blocks_of
from attnmask.run.engines.cpu.kernel import kernels
from attnmask.run.engines.numpy import oracle
from tests.run.kinds import EXAMPLES, NAMES

torch = pytest.importorskip("torch")

from attnmask.run.engines.cpu import torch_operations  # noqa: E402 -- it imports torch, which may be missing

CAUSAL = am.causal()
WINDOW = CAUSAL & am.window(20)
EACH_KERNEL = pytest.mark.parametrize("size", sorted(kernels()), ids=lambda size: kernels()[size].variant)


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64")
    or shutil.which("g++") is None
    or "ATTNMASK_HIDE" in os.environ,
    reason="setup.py compiles it on Linux and x86-64, where there is a compiler",
)
def test_the_kernel_is_here():
    """The tests below would find nothing to test without it."""
    assert kernels(), kernel.missing()


def attend(q, k, v, blocks, scale):
    return torch_operations.attend(q, k, v, torch_operations.number_of(blocks), scale)[0]


def call(mask, frame, dim, dim_v, heads=4):
    """q, k, v and a gradient of the output as NumPy arrays, with grouped heads."""
    fitted = fit(mask, frame)
    batch, heads = fitted.batch if fitted.batch > 1 else 2, fitted.heads if fitted.heads > 1 else heads
    kv_heads = heads // 2 if heads % 2 == 0 else 1
    random = np.random.default_rng(0)
    shapes = [(heads, frame.q_len, dim), (kv_heads, frame.kv_len, dim), (kv_heads, frame.kv_len, dim_v)]
    return [random.standard_normal((batch, *shape)) for shape in (*shapes, (heads, frame.q_len, dim_v))]


def results(mask, frame, arrays, size, dtype=torch.float32):
    *qkv, grad = (torch.tensor(array, dtype=dtype) for array in arrays)
    q, k, v = (array.requires_grad_() for array in qkv)
    output = attend(q, k, v, blocks_of(mask, frame, size), 1 / math.sqrt(q.shape[3]))
    parts = (output, *torch.autograd.grad(output, (q, k, v), grad))
    assert {part.dtype for part in parts} == {dtype}
    return [part.detach().double().numpy() for part in parts]


def assert_oracle(mask, frame, arrays, size, dtype=torch.float32, tolerance=None):
    arrays = [torch.tensor(array, dtype=dtype).double().numpy() for array in arrays]
    given, scale = results(mask, frame, arrays, size, dtype), 1 / math.sqrt(arrays[0].shape[3])
    right = oracle.attention(*arrays[:3], mask, frame, scale), *oracle.gradients(*arrays, mask, frame, scale)
    allowed = tolerance or 20 * torch.finfo(dtype).eps
    for name, one, other in zip(("output", "dq", "dk", "dv"), given, right, strict=True):
        np.testing.assert_allclose(one, other, atol=allowed, rtol=allowed, err_msg=f"{name} of {mask}")
    empty = np.broadcast_to(mask.empty_rows(frame), given[0].shape[:3])
    assert not given[0][empty].any()
    assert not given[1][empty].any()


@EACH_KERNEL
@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind(mask, frame, size):
    assert_oracle(mask, frame, call(mask, frame, 4, 3), size)


@pytest.fixture
def _in_float(monkeypatch):
    """As where no kernel multiplies 16-bit numbers; test_tiles.py is about those that do."""
    monkeypatch.setattr(torch_operations, "kernel_of", lambda rows, dtype: kernels()[rows])


@EACH_KERNEL
@pytest.mark.usefixtures("_in_float")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("dims", [(1, 1), (8, 24), (16, 16), (40, 33), (64, 64), (80, 128), (192, 65)], ids=str)
def test_dims_and_dtypes(dims, dtype, size):
    """Panels of 64 numbers, vectors of 8 or 16, and what is left over of each."""
    frame = am.Frame(70, 90, align="end")
    assert_oracle(WINDOW, frame, call(WINDOW, frame, *dims), size, dtype)


@EACH_KERNEL
@pytest.mark.usefixtures("_in_float")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_16_bits_are_rounded_once_as_torch_rounds_them(dtype, size):
    narrow = [torch.tensor(array, dtype=dtype) for array in call(WINDOW, am.Frame(70), 20, 20)[:3]]
    narrow[2][0, 0, 3] = torch.tensor([math.inf, -math.inf, 0, 1e-7] * 5, dtype=dtype)
    blocks = blocks_of(WINDOW, am.Frame(70), size)
    wide = attend(*(array.float() for array in narrow), blocks, 0.25)
    assert torch.equal(attend(*narrow, blocks, 0.25).nan_to_num(), wide.to(dtype).nan_to_num())


LARGER = [
    am.everything(),
    CAUSAL,
    CAUSAL & am.window(40),
    am.window(130, 70),
    CAUSAL & am.documents(lengths=[300, 20, 480]),
    CAUSAL & am.padding([800, 310, 0]),
    CAUSAL & am.padding([800, 310, 0], side="left", kv_len=800),
    am.prefix(200) | CAUSAL,
    CAUSAL & (am.sinks(4) | am.window(100)),
    am.dilated(3) & am.window(100),
    am.random_blocks(800, 50, 2),
    am.grid([20, 40], 5),
    am.block_diffusion(400, 16),
    am.same(am.h % 2, am.k % 2) & CAUSAL,
]


@EACH_KERNEL
@pytest.mark.parametrize("mask", LARGER, ids=str)
def test_larger_sizes(mask, size):
    frame = am.Frame(800, heads=4 if "h" in mask.depends_on else None)
    assert_oracle(mask, frame, call(mask, frame, 16, 16), size, tolerance=2e-5)


@EACH_KERNEL
@pytest.mark.parametrize("mask", LARGER[1:7], ids=str)
def test_rectangular_frames(mask, size):
    frame = am.Frame(500, 800, align="end")
    assert_oracle(mask, frame, call(mask, frame, 16, 16), size, tolerance=2e-5)


@EACH_KERNEL
def test_gradients_of_keys_in_parts(size):
    """With more threads than heads, blocks of one head are summed apart; the sums are the same each time."""
    frame, threads = am.Frame(300), torch.get_num_threads()
    arrays = [array[:1, :1] for array in call(WINDOW, frame, 16, 16)]
    try:
        torch.set_num_threads(3)
        assert_oracle(WINDOW, frame, arrays, size)
        first, again = (results(WINDOW, frame, arrays, size) for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


@EACH_KERNEL
def test_numbers_that_are_not_finite_are_seen_by_those_who_see_them(size):
    q, k, v, _ = (torch.tensor(array, dtype=torch.float32) for array in call(WINDOW, am.Frame(300), 16, 16))
    right = attend(q, k, v, blocks_of(WINDOW, am.Frame(300), size), 0.25)
    k[:, :, 100] = math.nan
    output = attend(q, k, v, blocks_of(WINDOW, am.Frame(300), size), 0.25)
    sees = torch.zeros(300, dtype=torch.bool)
    sees[100:121] = True
    assert output[:, :, sees].isnan().all()
    torch.testing.assert_close(output[:, :, ~sees], right[:, :, ~sees], rtol=0, atol=0)


@EACH_KERNEL
@pytest.mark.parametrize("numbers", [math.nan, math.inf])
@pytest.mark.parametrize("dims", [(32, 32), (13, 5)], ids=str)  # read where they stand, and gathered
def test_keys_that_no_list_has_change_nothing(dims, numbers, size):
    """Lists of 50 keys are computed as if they had more, which may be those that follow, hidden from all rows."""
    mask, frame = am.padding([50, 50]), am.Frame(70)
    q, k, v, grad = call(mask, frame, *dims)
    right = results(mask, frame, (q, k, v, grad), size)
    k[:, :, 50:], v[:, :, 50:] = numbers, numbers
    for one, other in zip(results(mask, frame, (q, k, v, grad), size), right, strict=True):
        np.testing.assert_array_equal(one, other)
    for hidden in results(mask, frame, (q, k, v, numbers * grad), size)[2:]:
        assert not hidden[:, :, 50:].any()


@EACH_KERNEL
def test_nothing_is_read_beyond_the_arrays(size):
    """Keys and values that end where memory ends that may be read."""
    code = (
        "import ctypes, mmap, numpy, torch, attnmask as am\n"
        "from attnmask.run.engines.cpu import torch_operations\n"
        "from attnmask.run.engines.cpu.blocks import blocks_of\n"
        "def at_the_end(shape):\n"
        "    size = 4 * int(numpy.prod(shape)); pages = -(-size // mmap.PAGESIZE) + 1\n"
        "    memory = mmap.mmap(-1, pages * mmap.PAGESIZE)\n"
        "    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))\n"
        "    end = (pages - 1) * mmap.PAGESIZE\n"
        "    protect = ctypes.CDLL(None).mprotect\n"
        "    assert protect(ctypes.c_void_p(start + end), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0\n"
        "    array = numpy.frombuffer(memory, numpy.float32, size // 4, end - size).reshape(shape)\n"
        "    return torch.from_numpy(array).normal_().requires_grad_()\n"
        f"blocks = blocks_of(am.causal(), am.Frame(50), {size})\n"
        "q, k, v = (at_the_end((1, 2, 50, 32)) for _ in range(3))\n"
        "torch_operations.attend(q, k, v, torch_operations.number_of(blocks), 0.25)[0].sum().backward()\n"
        "import os; os._exit(0)\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False, timeout=100).returncode == 0


@EACH_KERNEL
def test_weights_of_the_largest_scores_are_as_exact_as_their_scores(size):
    """Where a row attends to one key almost alone, the gradient of its value is the row's, not merely close to it."""
    q = torch.zeros(1, 1, 40, 16)
    q[0, 0, range(40), [row % 16 for row in range(40)]] = 77.7
    k = v = 33.3 * torch.eye(16)[None, None]
    grad = torch.randn(1, 1, 40, 16)
    frame = am.Frame(40, 16, align="start")
    given = results(am.everything(), frame, [array.numpy() for array in (q, k, v, grad)], size)[3]
    right = torch.zeros(16, 16).index_add(0, torch.arange(40) % 16, grad[0, 0]).numpy()
    np.testing.assert_allclose(given[0, 0], right, rtol=3e-7, atol=3e-7)


@EACH_KERNEL
def test_large_scores(size):
    """Weights of 0 and 1, and scores whose exponential no float holds."""
    q, k, v, _ = (torch.tensor(array, dtype=torch.float32) for array in call(WINDOW, am.Frame(90), 16, 16))
    output = attend(100 * q, 100 * k, v, blocks_of(WINDOW, am.Frame(90), size), 0.25)
    exact = [array.double().numpy() for array in (100 * q, 100 * k, v)]
    np.testing.assert_allclose(output.numpy(), oracle.attention(*exact, WINDOW, am.Frame(90), 0.25), atol=1e-4)


# Never skipped where setup.py compiles it: test_the_kernel_is_here would fail.
HERE = pytest.mark.skipif(not kernels(), reason="the kernel was not compiled here")


@HERE
def test_it_runs_where_nobody_asks_for_another_engine():
    q = torch.randn(1, 2, 1500, 16)
    assert am.plan(WINDOW, 1500, heads=2).engine == "cpu"
    assert torch.equal(am.attention(q, q, q, WINDOW), am.attention(q, q, q, WINDOW, engine="cpu"))


@pytest.mark.usefixtures("_no_kernel")
def test_without_the_kernel_torch_computes():
    q = torch.randn(1, 2, 100, 16)
    assert am.plan(WINDOW, 100).engine == "torch"
    assert torch.equal(am.attention(q, q, q, WINDOW), am.attention(q, q, q, WINDOW, engine="torch"))
    with pytest.raises(InputError, match="the engine 'cpu' must be able to run the call"):
        am.attention(q, q, q, WINDOW, engine="cpu")


@HERE
def test_why_there_is_no_kernel(monkeypatch):
    monkeypatch.setattr(kernel, "HIDDEN", frozenset({"avx512", "avx2"}))
    assert kernel.missing() == "ATTNMASK_HIDE hides avx2, avx512, and there is nothing else here"
    assert kernel.kernels.__wrapped__() == {}
    monkeypatch.setattr(kernel, "HIDDEN", frozenset({""}))
    assert kernel.missing() == "this processor has neither AVX-512 nor AVX2"
    monkeypatch.setattr(kernel, "VARIANTS", ("of another machine",))
    assert "was not compiled when attnmask was installed" in kernel.missing()
    assert kernel.kernels.__wrapped__() == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"device": "cuda"}, "it runs on cpu, not on cuda"),
        ({"dtype": "float64"}, "it computes float32, bfloat16, float16, not float64"),
    ],
)
def test_refusals(given, reason):
    assert am.plan(WINDOW, 100, **given).refused["cpu"] == reason


@HERE
def test_sdpa_kernel_is_obeyed():
    q = torch.randn(1, 2, 1500, 16, requires_grad=True)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert am.attention(q, q, q, WINDOW).grad_fn.name() != "GeneratedBackwardFor_attnmask_rows_defaultBackward"
        with pytest.raises(InputError, match="sdpa_kernel forbids fused kernels"):
            am.attention(q, q, q, WINDOW, engine="cpu")
    assert am.attention(q, q, q, WINDOW).grad_fn.name() == "GeneratedBackwardFor_attnmask_rows_defaultBackward"


@pytest.mark.parametrize("length", [100, 8])  # our kernel, and one call with a kept mask
@pytest.mark.parametrize("mask", [WINDOW, CAUSAL & am.padding([5]), am.grid([2, 4], 1)], ids=str)
def test_fake_tensors_leave_nothing_behind(mask, length):
    from torch._subclasses.fake_tensor import FakeTensorMode

    mask = mask if length == 8 or mask == WINDOW else CAUSAL & am.padding([length - 3])
    q = torch.randn(1, 2, length, 16)
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(q)
        assert am.attention(fake, fake, fake, mask).shape == q.shape
    assert type(am.attention(q, q, q, mask)) is torch.Tensor


@HERE
@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("mask", [WINDOW, CAUSAL & am.padding([100, 60])], ids=str)
@pytest.mark.parametrize("engine", [None, "cpu"])
def test_compiled_into_a_graph(mask, engine):
    """The same numbers to the last bit, so it is the same kernel."""
    arrays = [torch.randn(2, 2, 100, 16, requires_grad=True) for _ in range(3)]

    def loss(q, k, v):
        output = am.attention(q, k, v, mask, engine=engine)
        return output.square().sum(), output

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, other in ((loss, compiled), (compiled, compiled)):
        (first, output), (again, same) = one(*arrays), other(*arrays)
        assert torch.equal(output, same)
        for a, b in zip(torch.autograd.grad(first, arrays), torch.autograd.grad(again, arrays), strict=True):
            assert torch.equal(a, b)


@HERE
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # SDPA's own
@pytest.mark.usefixtures("_fresh_compiler")
def test_compiled_under_transforms_it_is_not_used():
    q = torch.randn(3, 1, 2, 100, 16)
    mapped = torch.func.vmap(lambda q: am.attention(q, q, q, WINDOW))
    torch.testing.assert_close(torch.compile(mapped, fullgraph=True, backend="eager")(q), mapped(q))


@HERE
def test_blocks_are_held_until_the_backward_pass():
    """A mask per step, as in training on packed documents: nothing piles up, and nothing goes too soon."""
    q = torch.randn(1, 2, 100, 16, requires_grad=True)
    outputs = [am.attention(q, q, q, CAUSAL & am.window(n)) for n in range(80)]  # more than are remembered
    blocks_of.cache_clear()
    for output in outputs:
        output.sum().backward(retain_graph=True)
    del output, outputs
    gc.collect()
    assert not torch_operations._NUMBERED


@HERE
def test_the_recorder_sees_its_calls():
    class Model(torch.nn.Module):
        def forward(self, q):
            return am.attention(q, q, q, CAUSAL & am.padding([100, 60]))

    with am.record(model := Model()) as log:
        model(torch.randn(2, 2, 100, 16))
    assert [(call.api, call.name) for call in log.calls] == [("attnmask", "causal() & padding([100, 60])")]


def test_it_may_be_called_from_many_threads_and_processes():
    code = (
        "import os, threading, torch, attnmask as am\n"
        "q = torch.randn(1, 4, 200, 16); mask = am.causal() & am.window(9); right = am.attention(q, q, q, mask)\n"
        "same = lambda: torch.equal(am.attention(q, q, q, mask), right) or os._exit(1)\n"
        "threads = [threading.Thread(target=same) for _ in range(4)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "torch.set_num_threads(1)\n"
        "child = os.fork()\n"
        "if child == 0: same(); os._exit(0)\n"
        "raise SystemExit(os.waitpid(child, 0)[1])\n"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False, timeout=100).returncode == 0
