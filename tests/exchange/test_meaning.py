"""A mask is what it allows: other spellings are exported, and known to kernels, exactly as the plain one."""

import importlib
from random import Random

import numpy as np
import pytest
import torch

import attnmask as am
from attnmask.define.kind import kinds
from attnmask.errors import AttnmaskError
from tests.rewritings import rewritten

EXAMPLES = [pair for name in kinds() for pair in importlib.import_module(f"attnmask.define.masks.{name}").EXAMPLES]
REWRITINGS = -(-500 // len(EXAMPLES))  # of each example
PARTS = ("left", "right", "lengths", "valid", "documents", "chunk")


def frames_of(frame):
    """The frame, and others of its keys with fewer queries: nothing is tested with q_len == kv_len only."""
    start = frame.q_start or 0
    whole = am.Frame(frame.q_len, frame.kv_len, q_start=start, batch=frame.batch, heads=frame.heads)
    last = am.Frame(1, frame.kv_len, q_start=start + frame.q_len - 1, batch=frame.batch, heads=frame.heads)
    return [whole, last] + [am.Frame(2, frame.kv_len, q_start=start, batch=frame.batch)] * (frame.q_len > 2)


def said(mask, framework, frame):
    """What an exporter says, as comparable values."""
    options = {"num_heads": 2} if framework == "torch.mha" else {}
    try:
        found = am.export(mask, framework, frame, **options)
    except AttnmaskError as error:
        return type(error).__name__
    return {name: as_values(value) for name, value in found.items()}


def as_values(value):
    if hasattr(value, "kv_num_blocks"):
        return [value.to_dense().tolist(), value.shape]
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return np.asarray(value).tolist() if hasattr(value, "__array__") else value


def native(mask, frame):
    found = am.lower(mask, frame, "native")
    rest = (
        None
        if found.remainder is None
        else np.broadcast_to(found.remainder.dense(frame), mask.dense(frame).shape).tolist()
    )
    return {name: getattr(found, name) for name in PARTS}, rest


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=str)
def test_other_spellings_say_the_same(mask, frame):
    random = Random(repr(mask))
    for seen in frames_of(frame):
        expected = {name: said(mask, name, seen) for name in am.frameworks()}
        known = native(mask, seen)
        for _ in range(REWRITINGS if seen.q_len != 1 else 2):
            other = rewritten(mask, random)
            assert native(other, seen) == known, f"{other} for {mask}"
            for name in am.frameworks():
                assert said(other, name, seen) == expected[name], f"{name}: {other} for {mask}"
