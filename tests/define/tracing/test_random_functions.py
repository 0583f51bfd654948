"""Random functions: a trace is refused, or equal to what the framework gives, at positions that its check did not see."""

import warnings

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.tracing.positions import COUNT, reach, sampled
from attnmask.errors import MaskError
from tests.define.tracing.random_functions import BATCH, HEADS, KV_LEN, Q_LEN, written

SEEDS = st.integers(0, 10**9)
FAR = 5000  # where the first query of a function without tables stands as well


def positions(start, seen, count):
    """Random positions of a frame, without those that the check saw."""
    every = [
        (b, h, q, k)
        for b in range(BATCH)
        for h in range(HEADS)
        for q in range(start, start + Q_LEN)
        for k in range(KV_LEN)
    ]
    left = [at for at in every if at not in seen]
    chance = np.random.default_rng(0)
    return [left[i] for i in chance.permutation(len(left))[:count]]


def one_by_one(function, arrays):
    return [bool(function(*places)) for places in zip(*arrays, strict=True)]


def run_torch(function, at):
    arrays = [torch.tensor(column) for column in zip(*at, strict=True)]
    try:
        return torch.vmap(function)(*arrays).tolist()
    except (RuntimeError, ValueError):
        return one_by_one(function, arrays)


def run_jax(function, at):
    arrays = [jax.numpy.asarray(column) for column in zip(*at, strict=True)]
    try:
        return jax.vmap(function)(*arrays).tolist()
    except jax.errors.TracerBoolConversionError:
        return one_by_one(function, [array[:40] for array in arrays])


def run_numpy(function, at):
    return one_by_one(function, [np.array(column) for column in zip(*at, strict=True)])


RUN = {"torch": run_torch, "numpy": run_numpy, "jax": run_jax}


def check(seed, framework, count=COUNT):
    """Trace the function of a seed; if it is not refused, compare. Gives whether it was traced.

    The number of positions is that of the check, for which JAX has compiled its operations already.
    """
    drawn = written(seed, framework)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            traced = am.trace(drawn.function)
        except MaskError:
            return False
        seen = set(sampled(traced.node).at)
        far = not drawn.tables and reach(traced.node) > FAR + Q_LEN
        for start in (0, FAR) if far else (0,):
            frame = am.Frame(Q_LEN, KV_LEN, q_start=start, batch=BATCH, heads=HEADS)
            dense = np.broadcast_to(traced.dense(frame), (BATCH, HEADS, Q_LEN, KV_LEN))
            at = positions(start, seen, count)
            for place, answer in zip(at, RUN[framework](drawn.function, at), strict=False):
                b, h, q, k = place
                assert dense[b, h, q - start, k] == answer, f"{drawn.source} at {place}: {framework} gives {answer}"
    return True


@pytest.mark.parametrize("framework", RUN)
def test_traces_of_random_functions_are_right_or_refused(framework):
    traced = sum(check(seed, framework) for seed in range(100))
    assert 33 < traced < 100  # neither refuses all nor takes all


@given(SEEDS)
def test_property_random_functions_of_torch(seed):
    check(seed, "torch")


@given(SEEDS)
def test_property_random_functions_of_numpy(seed):
    check(seed, "numpy")


@settings(max_examples=settings.default.max_examples // 20)
@given(SEEDS)
def test_property_random_functions_of_jax(seed):
    check(seed, "jax")
