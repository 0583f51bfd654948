"""A forked child computes attention, although the threads of its parent did not survive the fork."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

CODE = """
import os, warnings
import torch, attnmask as am
torch.set_num_threads(4)
big = torch.randn(2, 8, 1024, 32, requires_grad=True)
mask = am.causal() & am.window(100)
def run():
    selection = mask & am.top_k(4)
    calls = {{
        "attention": lambda: am.attention(big, big, big, mask, engine={engine!r}).sum().backward(),
        "weights": lambda: am.attention_weights(big, big, mask),
        "selection": lambda: am.attention(big, big, big, selection).sum().backward(),
    }}
    calls[{call!r}]()
run()
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert torch.get_num_threads() == 4
    run()  # the parent goes on as before
else:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run()
        run()
    assert ["one thread" in str(one.message) for one in told].count(True) == 1, told
    os._exit(0)
"""

LOADER = """
import torch, attnmask as am
torch.set_num_threads(4)
class Data(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, at):
        x = torch.full((1, 8, 512, 32), float(at))
        return am.attention(x, x, x, am.causal() & am.window(9))
Data()[0]
for batch in torch.utils.data.DataLoader(Data(), num_workers=2, multiprocessing_context="fork"):
    assert batch.shape == (1, 1, 8, 512, 32)
"""


def run(code):
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    # a session of its own, so that a child that hangs ends with its parent
    with subprocess.Popen([sys.executable, "-c", code], env=environment, start_new_session=True) as process:
        try:
            assert process.wait(60) == 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


@pytest.mark.parametrize("engine", ["cpu", "torch"])
def test_attention(engine):
    run(CODE.format(engine=engine, call="attention"))


@pytest.mark.parametrize("call", ["weights", "selection"])
def test_the_other_calls(call):
    run(CODE.format(engine=None, call=call))


def test_workers_of_a_loader_are_told_nothing():
    run(LOADER)
