"""The kernel as compiled for NEON gives what the oracle gives, on a processor that is emulated."""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import attnmask as am
from attnmask.run.engines.cpu import kernel
from attnmask.run.engines.cpu.blocks import blocks_of
from attnmask.run.engines.cpu.kernel import Call
from attnmask.run.engines.numpy import oracle

torch = pytest.importorskip("torch")

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-maybe-uninitialized"]  # as in setup.py
TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
SIZE = 8  # rows of a block
HEADS, KV_HEADS = 4, 2

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None or shutil.which(EMULATOR) is None,
    reason=f"{COMPILER} and {EMULATOR} are needed: apt-get install g++-aarch64-linux-gnu qemu-user",
)


@pytest.fixture(scope="module", params=["-fopenmp", "-fno-openmp"], ids=["threads", "no threads"])
def program(request, tmp_path_factory):
    """The kernel and one_call.cpp, with the threads of OpenMP, and as where the compiler has none."""
    path = tmp_path_factory.mktemp("neon") / "one_call"
    folder, source = Path(kernel.__file__).parent, Path(__file__).with_name("one_call.cpp")
    sources = [f"-I{folder}", str(source), *(str(folder / f"{part}.cpp") for part in ("blocks", "groups", "by_key"))]
    subprocess.run([COMPILER, *FLAGS, request.param, "-static", *sources, "-o", str(path)], check=True)
    return path


class Sizes(ctypes.Structure):
    """What ``struct Sizes`` in ``one_call.cpp`` has."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("rows", "entries", "q_len", "bytes", "grouped")),
        ("call", Call),
        ("scale", ctypes.c_double),
    ]


def results(program, arrays, blocks, scale):
    """Output, log-sum-exp, and gradients of q, k and v."""
    q, k, v, _ = arrays
    (batch, heads, q_len, dim), (_, kv_heads, kv_len, dim_v), parts = q.shape, v.shape, 3
    sizes = (batch, heads, kv_heads, kv_len, dim, dim_v, *blocks.rows.shape[:3])
    told = Call(TYPES[q.dtype], 2, *sizes, parts=parts)
    lists = (blocks.rows, blocks.offsets, blocks.start, blocks.stop, blocks.seen)
    given = [
        bytes(Sizes(blocks.rows.shape[3], len(blocks.start), q_len, q.element_size(), blocks.grouped, told, scale))
    ]
    given += [np.ascontiguousarray(part).tobytes() for part in lists]
    given += [array.view(torch.uint8).numpy().tobytes() for array in arrays]
    found = subprocess.run([EMULATOR, str(program)], input=b"".join(given), stdout=subprocess.PIPE, check=True).stdout
    numbers, place = [], 0
    for shape, dtype in (
        ((batch, heads, q_len, dim_v), q.dtype),
        ((batch, heads, q_len), torch.float32),
        (q.shape, q.dtype),
        ((parts, *k.shape), torch.float32),
        ((parts, *v.shape), torch.float32),
    ):
        count = math.prod(shape)
        part = torch.frombuffer(bytearray(found), dtype=dtype, count=count, offset=place)
        numbers.append(part.reshape(shape).double().numpy())
        place += count * dtype.itemsize
    assert place == len(found)
    return *numbers[:3], numbers[3].sum(0), numbers[4].sum(0)


CAUSAL = am.causal()
MASKS = [
    am.everything(),
    CAUSAL,
    CAUSAL & am.window(20),
    CAUSAL & am.documents(lengths=[30, 7, 53]),
    am.padding([90, 31]),
    CAUSAL & am.window(5) & am.padding([40, 90]),  # with rows that see nothing
    am.dilated(3) & am.window(25),
    CAUSAL & (am.sinks(4) | am.window(10)),
    am.same(am.h % 2, am.k % 2) & CAUSAL,
]


def assert_oracle(program, mask, frame, dims, dtype=torch.float32, scale=0.3, group=None):
    """Of blocks, or forward of groups of so many positions."""
    random = np.random.default_rng(0)
    shapes = [(HEADS, frame.q_len, dims[0]), (KV_HEADS, frame.kv_len, dims[0])]
    shapes += [(KV_HEADS, frame.kv_len, dims[1]), (HEADS, frame.q_len, dims[1])]
    arrays = [torch.tensor(random.standard_normal((2, *shape)), dtype=dtype) for shape in shapes]
    lists = blocks_of(mask, frame, group or SIZE, grouped=group is not None)
    given = results(program, arrays, lists, scale)[: 2 if group else 5]
    exact = [array.double().numpy() for array in arrays]
    output, lse = oracle.attention_lse(*exact[:3], mask, frame, scale)
    right = output, lse, *oracle.gradients(*exact, mask, frame, scale)
    allowed = 20 * torch.finfo(dtype).eps
    for name, one, other in zip(("output", "lse", "dq", "dk", "dv"), given, right, strict=group is None):
        np.testing.assert_allclose(one, other, atol=allowed, rtol=allowed, err_msg=f"{name} of {mask}")
    empty = np.broadcast_to(mask.empty_rows(frame), given[0].shape[:3])
    assert not given[0][empty].any()
    assert (given[1][empty] == -math.inf).all()


@pytest.mark.parametrize("mask", MASKS, ids=str)
def test_masks(program, mask):
    frame = am.Frame(90, heads=HEADS if "h" in mask.depends_on else None)
    assert_oracle(program, mask, frame, (16, 16))


@pytest.mark.parametrize("dtype", list(TYPES), ids=str)
@pytest.mark.parametrize("dims", [(1, 1), (8, 24), (40, 33), (64, 64), (80, 128)], ids=str)
def test_dims_and_dtypes(program, dims, dtype):
    frame = am.Frame(70, 90, align="end")
    assert_oracle(program, CAUSAL & am.window(20), frame, dims, dtype, 1 / math.sqrt(dims[0]))


@pytest.mark.parametrize("scale", [0.0, -0.5, 1.0])
def test_scales(program, scale):
    with_empty_rows = CAUSAL & am.window(5) & am.padding([40, 90])
    assert_oracle(program, with_empty_rows, am.Frame(90), (4, 4), torch.float32, scale)


@pytest.mark.parametrize("dtype", list(TYPES), ids=str)
@pytest.mark.parametrize("dims", [(7, 1), (64, 64), (80, 128)], ids=str)
def test_groups(program, dims, dtype):
    scale = 1 / math.sqrt(dims[0])
    assert_oracle(program, CAUSAL & am.window(20), am.Frame(5, 90, align="end"), dims, dtype, scale, group=5)
    assert_oracle(program, am.dilated(3), am.Frame(40), dims, dtype, scale, group=1)
