"""Visible pairs one by one give the output and the gradients of the oracle, for every kind of mask."""

import functools

import numpy as np
import pytest

import attnmask as am
from attnmask.run.costs import Costs
from attnmask.run.engines.torch.plan import plan
from attnmask.run.engines.torch.ways import cheapest
from attnmask.run.machine import Machine
from attnmask.run.request import Request
from tests.run.engines.torch.test_torch_blocks import assert_oracle, call
from tests.run.engines.torch.test_torch_blocks import results as results_of
from tests.run.kinds import EXAMPLES, NAMES

torch = pytest.importorskip("torch")

from attnmask.run.engines.torch.edges import attend  # noqa: E402

results = functools.partial(results_of, attend=attend)


def one_by_one(mask, frame):
    return plan(mask, frame, Costs(), edges=True)


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind(mask, frame):
    found = one_by_one(mask, frame)
    if found.edges is None:
        return
    arrays = call(mask, frame)
    assert_oracle(results(found, arrays), arrays, mask, frame, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_dtypes(dtype):
    mask, frame = am.graph([(0, 1), (0, 3), (2, 2), (3, 0)], 4) | am.same(am.q, am.k), am.Frame(4)
    arrays = [torch.tensor(array, dtype=dtype).double().numpy() for array in call(mask, frame)]
    given = results(one_by_one(mask, frame), arrays, dtype)
    assert_oracle(given, arrays, mask, frame, 20 * torch.finfo(dtype).eps)


def random_graph(n, degree):
    random = np.random.default_rng(0)
    return am.graph(np.stack([np.repeat(np.arange(n), degree), random.integers(0, n, n * degree)], 1), n)


def way(mask, length):
    return cheapest(Request("torch", mask, am.Frame(length, q_start=0), 1, 8, 8, 64, 64, machine=Machine("avx512", 32)))


def test_graphs_are_computed_by_their_edges():
    assert way(random_graph(4096, 16), 4096).name == "edges"
    assert one_by_one(random_graph(1024, 16), am.Frame(1024)).computed <= 1024 * 16


def test_windows_are_not():
    assert way(am.causal() & am.window(255), 4096).name == "blocks"


def test_attention_on_a_graph():
    mask, random = random_graph(600, 8), np.random.default_rng(1)
    q, k, v = (random.standard_normal((1, heads, 600, 16)) for heads in (4, 2, 2))
    right = am.attention(q, k, v, mask)
    given = am.attention(*(torch.tensor(array) for array in (q, k, v)), mask, engine="torch")
    np.testing.assert_allclose(given.numpy(), right, atol=1e-12)
    assert not given[:, :, torch.from_numpy(mask.empty_rows(am.Frame(600))[0, 0])].any()


def test_huge_scores_do_not_overflow():
    mask = am.graph([(0, 0), (0, 1), (1, 1)], 2)
    q = torch.full((1, 1, 2, 4), 1e4)
    output = attend(q, q, torch.eye(2, 4)[None, None], one_by_one(mask, am.Frame(2)), 1.0)
    torch.testing.assert_close(output[0, 0, 0, :2], torch.tensor([0.5, 0.5]))
