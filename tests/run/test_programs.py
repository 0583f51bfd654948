"""A mask belongs to its program: what one process records, another one runs with its own mask, or not at all.

The process that runs a program has seen other masks of the same shapes before, recorded and computed. What is expected
is the formula in float64.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import attnmask as am

torch = pytest.importorskip("torch")

from attnmask.errors import InputError  # noqa: E402
from attnmask.lower.compiled import data_of, sizes_of, text_of  # noqa: E402
from attnmask.run.engines.cpu import torch_operations  # noqa: E402
from attnmask.run.engines.cpu.kernel import kernels  # noqa: E402
from tests.run import programs  # noqa: E402

HERE = pytest.mark.skipif(not kernels(), reason="the kernel was not compiled here")
MASKS = list(programs.masks())
NOT_SELECTED = [name for name in MASKS if name != "selection"]
ONE_TABLE = ["documents", "last"]  # where programs take long to compile
ALONE = {"export", "export strict", "aoti", "jit", "onnx"}  # programs that run where attnmask is not imported
NAMES = {
    "export": MASKS,
    "export strict": MASKS,
    "export cpu": NOT_SELECTED,
    "aoti": ONE_TABLE,
    "jit": MASKS,
    "make_fx": MASKS,
    "make_fx cpu": NOT_SELECTED,
    "pickle": MASKS,
    "onnx": [name for name in MASKS if name != "graph"],  # ONNX has no search in a sorted array, and torch says so
}


def process(*arguments, **environment):
    """Run ``tests/run/programs.py`` in a new process."""
    command = [sys.executable, "-m", "tests.run.programs", *map(str, arguments)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("way", [pytest.param(way, marks=HERE if "cpu" in way else ()) for way in programs.WAYS])
def test_a_program_runs_in_another_process_with_its_own_mask(way, tmp_path):
    """Its first call is the first one of the process that records it."""
    if way == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    process("write", way, tmp_path, *NAMES[way])
    process("read", way, tmp_path, *NAMES[way])
    if way in ALONE:
        process("alone", way, tmp_path, *NAMES[way])


@pytest.mark.parametrize("engine", ["torch", pytest.param("cpu", marks=HERE)])
def test_graphs_that_torch_keeps_on_disk_mean_their_own_mask(engine, tmp_path):
    for which in (0, 1):
        process("compile", engine, which, "documents", "window", TORCHINDUCTOR_CACHE_DIR=str(tmp_path))


class Square(torch.nn.Module):
    def __init__(self, mask, engine=None):
        super().__init__()
        self.mask, self.engine = mask, engine

    def forward(self, q):
        return am.attention(q, q, q, self.mask, engine=self.engine)


Q = torch.randn(2, 2, 40, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["causal", "window", "documents", "padding"])
def test_a_length_held_open_is_refused_by_torch(name):
    module = Square(programs.masks()[name][0])
    with pytest.raises(torch._dynamo.exc.UserError, match="specialized it to be a constant"):
        torch.export.export(module, (Q,), dynamic_shapes=({2: torch.export.Dim("n", min=4, max=100)},), strict=False)
    with pytest.raises(AssertionError, match="Guard failed"):
        torch.export.export(module, (Q,)).module()(Q[:, :, :30])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("name", ["causal", "window", "documents", "padding"])
def test_a_traced_program_takes_no_other_length(name):
    """torch.jit.trace guards nothing."""
    traced = torch.jit.trace(Square(programs.masks()[name][0]), (Q,))
    torch.testing.assert_close(traced(Q), am.attention(Q, Q, Q, programs.masks()[name][0]))
    with pytest.raises(RuntimeError, match="must match"):
        traced(Q[:, :, :30])


def test_several_masks_with_tables_in_one_program():
    """Two tables in a mask, and the same mask twice."""

    class Two(torch.nn.Module):
        def forward(self, q):
            return am.attention(Square(TWO)(Square(TWO)(q)), q, q, PADDING)

    for strict in (False, True):
        module = torch.export.export(Two(), (Q,), strict=strict).module()
        torch.testing.assert_close(module(Q), Two()(Q))
    torch.testing.assert_close(torch.compile(Two(), fullgraph=True, backend="aot_eager")(Q), Two()(Q))


TWO = am.documents(programs.IDS) & am.padding([40, 33]) & (am.q < am.lookup(38))
PADDING = programs.masks()["padding"][0]


@HERE
def test_a_number_of_another_process_is_refused():
    with pytest.raises(InputError, match=r"got blocks '#12345' of another process\. Leave engine out"):
        torch.ops.attnmask.rows(Q, Q, Q, "#12345", 0.25)
    mask, frame = am.causal() & am.padding([9, 40]), am.Frame(40, q_start=0)
    text = text_of(data_of(mask), sizes_of(frame))
    output, _ = torch.ops.attnmask.rows(Q, Q, Q, text, 0.25)
    torch.testing.assert_close(output, am.attention(Q, Q, Q, mask))
    del mask
    assert torch_operations.lists_told(text, *[torch.zeros(1, 1, 2, 4)] * 3) is torch_operations.lists_told(
        text, *[torch.zeros(1, 1, 2, 4)] * 3
    )
