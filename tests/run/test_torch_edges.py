"""Visible pairs one by one give the output and the gradients of the oracle, for every kind of mask."""

import functools
from unittest import mock

import numpy as np
import pytest

import attnmask as am
from attnmask.run.engines.torch import plan as planning
from attnmask.run.engines.torch.plan import choice, plan
from tests.run.small_pieces import EXAMPLES, NAMES
from tests.run.test_torch_pieces import assert_oracle, call
from tests.run.test_torch_pieces import results as results_of

torch = pytest.importorskip("torch")

from attnmask.run.engines.torch.edges import attend  # noqa: E402

results = functools.partial(results_of, attend=attend)


def one_by_one(mask, frame):
    with mock.patch.object(planning, "EDGE", 0.0), mock.patch.object(planning, "EDGES", 0):
        found = plan.__wrapped__(mask, frame)
    assert found.edges is not None or found.visible == 0
    return found


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


def test_graphs_are_planned_by_their_edges():
    found = choice(random_graph(1024, 16), am.Frame(1024), 1, 8)
    assert found.edges is not None
    assert found.computed == found.visible <= 1024 * 16


def test_windows_are_not():
    assert choice(am.causal() & am.window(255), am.Frame(2048), 1, 8).edges is None


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
