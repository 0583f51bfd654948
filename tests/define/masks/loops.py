"""Masks by plain loops: what the tests of the kinds compare with."""

import numpy as np

import attnmask as am


def visible(frame, rule, batch=1, heads=1):
    """rule(b, h, q, k) at every position, q counted from where the frame starts."""
    start = frame.q_start or 0
    shape = (batch, heads, frame.q_len, frame.kv_len)
    cells = [rule(b, h, start + q, k) for b, h, q, k in np.ndindex(*shape)]
    return np.array(cells, bool).reshape(shape)


def frames(size):
    """Square and rectangular frames whose positions stay below ``size``."""
    return [
        am.Frame(size),
        am.Frame(size // 2, size, align="end"),
        am.Frame(size // 2, size, align="start"),
        am.Frame(2, size, q_start=size // 3),
        am.Frame(size, size - 1, q_start=0),
    ]


def assert_equal(mask, rule, size, batch=1, heads=1):
    """A mask is its rule in every frame below ``size``."""
    for frame in frames(size):
        assert np.array_equal(mask.dense(frame), visible(frame, rule, batch, heads)), (mask, frame)
