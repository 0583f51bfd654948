"""Masks that only ask which key it is: whole columns; and landmarks, which are columns and rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from attnmask.define.mask import Mask, k, same
from attnmask.define.masks.landmarks import landmarks
from attnmask.define.masks.padding import padding
from attnmask.define.masks.prefix import prefix
from attnmask.define.masks.sinks import sinks
from attnmask.exchange.recognition.pairs import Bools, Ints
from attnmask.exchange.recognition.view import View

FEW = 4  # keys that are named one by one


def paddings(view: View) -> Iterator[Mask]:
    """Keys that some query sees, as right lengths, left lengths, or an array."""
    valid = view.columns.over(1).some  # (batch, kv_len)
    if not valid.any():
        return
    kv_len = valid.shape[1]
    ends = np.where(valid.any(1), kv_len - valid[:, ::-1].argmax(1), 0)
    starts = np.where(valid.any(1), valid.argmax(1), kv_len)
    places = np.arange(kv_len)
    yield padding(_lengths(ends))
    if starts.max() > 0:
        yield padding(_lengths(kv_len - starts), side="left", kv_len=kv_len)
    if not np.array_equal(valid, (places >= starts[:, None]) & (places < ends[:, None])):
        yield padding(valid=valid if len(valid) > 1 else valid[0])


def beginnings(view: View) -> Iterator[Mask]:
    """The first keys that every query may see: sinks, or a prefix for each sequence."""
    full = view.columns.over(1).full
    counts = np.where(full.all(1), full.shape[1], full.argmin(1))
    if counts.max() > 0:
        yield sinks(int(counts[0])) if counts.min() == counts.max() else prefix(counts)


def single_keys(view: View) -> Iterator[Mask]:
    """Keys that every query may see, beyond the first ones."""
    full = view.columns.over(0, 1).full
    beyond = np.flatnonzero(full & (np.cumsum(~full) > 0))
    if len(beyond) <= FEW:
        yield from (same(k, int(place)) for place in beyond)


def landmark_tokens(view: View) -> Iterator[Mask]:
    """Positions that may see everything and be seen by all."""
    queries_end, kv_len = view.ends
    size = max(queries_end, kv_len)
    if view.q_start < 0:
        return
    free: Bools = np.ones((len(view.must), size), bool)
    free[:, view.q_start : queries_end] &= view.rows.over(1).full
    free[:, :kv_len] &= view.columns.over(1).full
    free[:, kv_len : view.q_start] = False  # neither a query nor a key
    counts = free.sum(1)
    if counts.min() > 0 and counts.max() <= max(2, size // 4):
        yield landmarks(_padded([np.flatnonzero(row) for row in free]))


def _padded(rows: list[Ints]) -> Any:
    """Rows of one length; a short one repeats its first number."""
    longest = max(map(len, rows))
    filled = [[*row.tolist(), *[int(row[0])] * (longest - len(row))] for row in rows]
    return filled if len(filled) > 1 else filled[0]


def _lengths(lengths: Ints) -> Any:
    return lengths.tolist() if len(lengths) > 1 else int(lengths[0])
