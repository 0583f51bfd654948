"""A trace checks itself: where it looks, which frameworks it asks, and that it finds what tracing alone does not."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import attnmask as am
from attnmask.define.language import Const
from attnmask.define.tracing import functions, values
from attnmask.define.tracing.positions import COUNT, reach, sampled
from attnmask.errors import MaskError

TRACE = sys.modules["attnmask.define.tracing.trace"]
BYTES = torch.tensor([[9, 8, 7, 6], [5, 250, 5, 4], [1, 2, 3, 3]], dtype=torch.uint8)


def test_positions_are_inside_of_tables_and_meet_their_extremes():
    mask = am.same(am.lookup(BYTES, am.b, am.q), am.lookup(BYTES, am.b, am.k))
    at = set(sampled(mask.node).at)
    assert all(b < 3 and q < 4 and k < 4 for b, _, q, k in at)
    assert {(1, 0, 1, 3), (1, 0, 3, 1)} <= at  # 250 and 4 of one sequence, both ways
    shifted = sampled((am.lookup([1, 2, 3], am.q - 5000) < am.k).node)
    assert {q for _, _, q, _ in shifted.at} <= {5000, 5001, 5002}
    assert len(shifted.at) == COUNT  # they are repeated: JAX compiles for one size


def test_positions_lie_around_constants_and_far_away():
    at = sampled((am.q - am.k < 4096).node).at
    assert {4095, 4096, 4097} <= {q - k for _, _, q, k in at}
    assert max(q for _, _, q, _ in at) > 2**18
    assert reach((am.q - am.k < 4096).node) == 2**20
    assert reach(((am.q - am.k) * (am.q - am.k) < 9).node) < 2**16  # its square leaves 32 bits


def test_look_ups_without_effect_bound_the_positions_too():
    assert am.trace(lambda b, h, q, k: (BYTES[b, q] < 0) & False | (q >= k)) == am.causal()


def test_what_tracing_alone_would_get_wrong_is_found(monkeypatch):
    """Without the ranges of dtypes the check alone finds numbers that wrap around."""
    monkeypatch.setattr(values, "check_range", lambda dtype, bounds: None)
    monkeypatch.setattr(functions, "check_range", lambda dtype, bounds: None)

    def wraps(b, h, q, k):
        return BYTES[b, q] - BYTES[b, k] < 100

    with pytest.raises(MaskError, match=r"False from torch at .*, where the trace says True"):
        am.trace(wraps)
    with pytest.raises(MaskError, match="from numpy at"):
        am.trace(lambda b, h, q, k: np.array([100, 100, 1], np.int8)[q] + np.array([100, 1], np.int8)[k] > 0)
    monkeypatch.setattr(TRACE, "check", lambda *args: None)
    assert am.trace(wraps).dense(am.Frame(4))[1].all() == np.False_  # the wrong mask, without the check


def test_a_function_that_no_framework_runs_is_refused_with_its_error():
    def fails(b, h, q, k):
        if type(q).__name__ == "Traced":
            return q >= k
        raise KeyError("never")

    with pytest.raises(MaskError, match=r"stops at .* with KeyError \"'never'\""):
        am.trace(fails)


def test_frameworks_that_are_not_loaded_are_not_asked_for():
    code = (
        "import sys, attnmask as am\n"
        "print(am.trace(lambda b, h, q, k: q >= k and q - k < 4))\n"
        "print(*sorted({'torch', 'jax'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "(k <= q) & (q - k < 4)\n\n"


def test_a_constant_mask_is_checked_too():
    assert len(sampled(Const(True)).at) == COUNT
    with pytest.raises(MaskError, match="where the trace says True"):
        am.trace(lambda b, h, q, k: not isinstance(q, (np.integer, torch.Tensor)))


def test_tracing_is_quick():
    """A look-up in torch, measured at 1 ms: the limit is for slow and busy machines."""
    ids = torch.tensor([0, 0, 1, 1])
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        am.trace(lambda b, h, q, k: (ids[q] == ids[k]) & (q >= k))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
