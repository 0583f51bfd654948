"""Mask arrays that go around in code: wrong ones with the codes of their mistakes, and right ones."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch

import attnmask as am

INF = math.inf
LOWER = np.tri(6, dtype=bool)
PADDED = np.arange(6) < 4
BLOCKS = np.kron(np.eye(3), np.ones((2, 2))).astype(bool)
SCORES = np.random.default_rng(0).normal(size=(6, 6))
LOWEST = {"float16": -65504.0, "bfloat16": torch.finfo(torch.bfloat16).min, "float32": np.finfo(np.float32).min}

INVERTED, TRIANGLE = ["inverted-polarity"], ["inverted-polarity", "hidden-self", "empty-row"]
EMPTIED = ["inverted-polarity", "empty-row"]


class Wrong(NamedTuple):
    """An array, the codes of what is wrong with it, and whose convention it follows."""

    array: Any
    codes: list[str]
    framework: str | None = None


def bias(visible, fill, dtype=np.float64):
    return np.where(visible, 0, fill).astype(dtype)


def tensor(visible, fill, dtype):
    visible = torch.from_numpy(np.asarray(visible))
    return torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, fill)


def opposite(mask, frame):
    return ~mask.dense(frame)


END, START = am.Frame(4, 9, align="end"), am.Frame(4, 9, align="start")

WRONG = {
    # fills that scores overcome
    "Swin's -100": Wrong(bias(BLOCKS, -100), ["weak-fill"]),
    "-10": Wrong(bias(LOWER, -10), ["weak-fill"]),
    "-1e4": Wrong(bias(LOWER, -1e4), ["weak-fill"]),
    "-1e4 in bfloat16, -9984": Wrong(tensor(LOWER, -1e4, torch.bfloat16), ["weak-fill"]),
    "float16's lowest in float32": Wrong(bias(LOWER, -65504, np.float32), ["weak-fill"]),
    "-100 for padding": Wrong(bias(np.broadcast_to(PADDED, (6, 6)), -100), ["weak-fill"]),
    "-100 beside a relative bias": Wrong(SCORES + bias(BLOCKS, -100), ["weak-fill"]),
    "-1e4 in scores": Wrong(np.where(LOWER, SCORES, -1e4), ["weak-fill"]),
    "-100 and a wholly hidden row": Wrong(bias(LOWER & (np.arange(6) > 0), -100), ["weak-fill", "empty-row"]),
    # finite fills that are not the lowest number
    "-1e9": Wrong(bias(LOWER, -1e9), ["finite-fill"]),
    "-1e9 in float32": Wrong(bias(LOWER, -1e9, np.float32), ["finite-fill"]),
    "-1e30": Wrong(bias(LOWER, -1e30), ["finite-fill"]),
    "float32's lowest in float64": Wrong(bias(LOWER, LOWEST["float32"]), ["finite-fill"]),
    "-1e9 in bfloat16": Wrong(tensor(LOWER, -1e9, torch.bfloat16), ["finite-fill"]),
    "-1e9 and a wholly hidden row": Wrong(bias(LOWER & (np.arange(6) > 0), -1e9), ["finite-fill", "empty-row"]),
    "the lowest and a wholly hidden row": Wrong(
        bias(LOWER & (np.arange(6) > 0), LOWEST["float16"], np.float16), ["empty-row"]
    ),
    # fills added to fills
    "-1e9 twice": Wrong(bias(LOWER, -1e9) + bias(PADDED, -1e9), ["fill-added-twice"]),
    "-100 twice": Wrong(bias(LOWER, -100) + bias(PADDED, -100), ["weak-fill", "fill-added-twice"]),
    "-1e9 and -1e4": Wrong(bias(LOWER, -1e9) + bias(PADDED, -1e4), ["weak-fill", "fill-added-twice"]),
    "-1e9 and -1e4 in float32": Wrong(
        bias(LOWER, -1e9, np.float32) + bias(PADDED, -1e4, np.float32), ["weak-fill", "fill-added-twice"]
    ),
    "-inf and -1e9": Wrong(bias(LOWER, -INF) + bias(PADDED, -1e9), ["fill-added-twice"]),
    "float16's lowest twice": Wrong(
        tensor(LOWER, -65504, torch.float16) + tensor(PADDED, -65504, torch.float16), ["fill-added-twice"]
    ),
    "float32's lowest twice": Wrong(
        tensor(LOWER, LOWEST["float32"], torch.float32) + tensor(PADDED, LOWEST["float32"], torch.float32),
        ["fill-added-twice"],
    ),
    "-1e9 twice in scores": Wrong(SCORES + bias(LOWER, -1e9) + bias(PADDED, -1e9), ["fill-added-twice"]),
    # numbers that are no bias
    "0 and 1": Wrong(LOWER.astype(float), ["zero-one-float"]),
    "all ones": Wrong(np.ones((6, 6)), ["zero-one-float"]),
    "0 and -1, never multiplied": Wrong(LOWER.astype(float) - 1, ["zero-one-float"]),
    "0 and 1 for MultiheadAttention": Wrong((~LOWER).astype(np.float32), ["zero-one-float"], "torch.mha"),
    "0 and 1 for SDPA": Wrong(LOWER.astype(np.float32), ["zero-one-float"], "torch.sdpa"),
    "integers": Wrong(LOWER.astype(np.int64), ["integer-mask"]),
    "integers for MultiheadAttention": Wrong((~LOWER).astype(np.uint8), ["integer-mask"], "torch.mha"),
    "integers for SDPA": Wrong(LOWER.astype(np.int64), ["integer-mask"], "torch.sdpa"),
    "integers of a bias": Wrong(np.where(LOWER, 0, -(10**9)), ["integer-mask"]),
    "an added 1": Wrong(bias(LOWER, -INF) + np.eye(6), ["added-one"]),
    "a lost sign": Wrong(bias(LOWER, 1e9), ["positive-fill"]),
    "plus infinity": Wrong(bias(LOWER, INF), ["positive-fill"]),
    "NaN": Wrong(bias(LOWER, np.nan), ["nan"]),
    "a multiplied mask": Wrong(SCORES * LOWER, ["multiplied-mask"]),
    "a multiplied padding mask": Wrong(SCORES * PADDED, ["multiplied-mask"]),
    # polarity
    "triu(ones, 1)": Wrong(~LOWER, TRIANGLE),
    "SDPA's mask for MultiheadAttention": Wrong(LOWER, TRIANGLE, "torch.mha"),
    "inverted in TensorFlow": Wrong(LOWER.astype(np.float32), TRIANGLE, "tensorflow"),
    "inverted bias": Wrong(bias(~LOWER, -INF), TRIANGLE),
    "inverted streaming mask": Wrong(opposite(am.chunked(4) | am.causal(), 12), EMPTIED),
    "inverted sinks": Wrong(opposite(am.causal() & (am.sinks(1) | am.window(2)), 9), INVERTED),
    "inverted window": Wrong(opposite(am.window(1, 1), 9), INVERTED),
    "inverted window with a cache": Wrong(opposite(am.window(2), END), INVERTED),
    "inverted causal mask with a cache": Wrong(opposite(am.causal(), END), EMPTIED),
    "inverted causal mask from the start": Wrong(opposite(am.causal(), START), INVERTED),
    "inverted prefix-LM": Wrong(opposite(am.prefix(2) | am.causal(), 7), EMPTIED),
    "inverted documents": Wrong(opposite(am.documents([0, 0, 1, 1, 1, 2]), 6), INVERTED),
    "inverted causal documents": Wrong(opposite(am.causal() & am.documents([0, 0, 0, 1, 1, 1]), 6), INVERTED),
    "inverted padding": Wrong(opposite(am.padding([2, 5]), am.Frame(3, 5)), EMPTIED),
    "inverted causal padding": Wrong(opposite(am.causal() & am.padding([3, 6]), 6), EMPTIED),
    "inverted grid": Wrong(opposite(am.grid((3, 4), (3, 3)), 12), INVERTED),
    "inverted documents of 300": Wrong(opposite(am.documents(lengths=[300, 300]), 600), INVERTED),
    "triu(ones)": Wrong(np.triu(np.ones((6, 6), bool)), ["transposed"]),
    "triu with a cache": Wrong(np.triu(np.ones((3, 7), bool), 4), ["transposed"]),
    # slips of one
    "tril(ones, 1)": Wrong(np.tri(6, k=1, dtype=bool), ["off-by-one"]),
    "tril(ones, 1) with a cache": Wrong(np.tri(4, 9, 6, dtype=bool), ["off-by-one"]),
    "tril(ones, 1) from the start": Wrong(np.tri(4, 9, 1, dtype=bool), ["off-by-one"]),
    "tril(ones, 1) of a padded batch": Wrong(
        np.tri(6, k=1, dtype=bool) & am.padding([4, 6]).dense(6), ["off-by-one"]
    ),
    "k < q": Wrong(np.tri(6, k=-1, dtype=bool), ["hidden-self", "empty-row"]),
    # axes
    "padding as rows of queries": Wrong(np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool), ["batch-as-query"]),
    "left padding as rows of queries": Wrong(np.array([[0, 0, 1, 1], [0, 1, 1, 1]], bool), ["batch-as-query"]),
    "a square batch of padding": Wrong(
        np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]], bool), ["batch-as-query"]
    ),
    "nothing": Wrong(np.zeros((3, 3), bool), ["empty-row", "hides-everything"]),
    "queries that are padding": Wrong(np.tri(6, dtype=bool) & (np.arange(6) < 4)[:, None], ["empty-row"]),
    "nothing in one sequence": Wrong(am.padding([0, 3]).dense(3), ["empty-row"]),
}  # fmt: skip

DISTANCE = np.arange(9)[:, None] - np.arange(9)

RIGHT = {
    "causal": LOWER,
    "causal for MultiheadAttention": (~LOWER, "torch.mha"),
    "1 hides in TensorFlow": ((~LOWER).astype(np.float32), "tensorflow"),
    "-inf": bias(LOWER, -INF),
    "-inf for MultiheadAttention": (bias(LOWER, -INF), "torch.mha"),
    "float32's lowest": bias(LOWER, LOWEST["float32"], np.float32),
    "float16's lowest": bias(LOWER, LOWEST["float16"], np.float16),
    "bfloat16's lowest": tensor(LOWER, LOWEST["bfloat16"], torch.bfloat16),
    "float64's lowest": bias(LOWER, np.finfo(np.float64).min),
    "left padding, one key": am.padding(1, side="left", kv_len=4).dense(4),
    "all zeros": np.zeros((4, 4)),
    "window": am.window(2).dense(6),
    "bidirectional window": am.window(1, 1).dense(6),
    "bidirectional window with a cache": am.window(2, 2).dense(am.Frame(3, 8, align="end")),
    "bounded look-ahead": am.window(8, 1).dense(12),
    "bounded look-ahead, with a cache": am.window(3, 1).dense(am.Frame(4, 9, align="end")),
    "documents": am.documents([0, 0, 1, 1]).dense(4),
    "causal documents": (am.causal() & am.documents([0, 0, 1, 1])).dense(4),
    "padding": am.padding([2, 4]).dense(4),
    "causal padding": (am.causal() & am.padding([2, 4])).dense(4),
    "left padding": am.padding([2, 4], side="left", kv_len=4).dense(4),
    "prefix-LM": (am.prefix(2) | am.causal()).dense(5),
    "chunks": am.chunked(2).dense(5),
    "causal chunks": (am.causal() & am.chunked(2)).dense(5),
    "streaming": (am.causal() | am.chunked(4)).dense(12),
    "sinks": (am.causal() & (am.sinks(2) | am.window(2))).dense(9),
    "landmarks alone": am.landmarks([0, 3]).dense(6),
    "landmarks": (am.causal() & (am.landmarks([0, 4]) | am.window(1))).dense(8),
    "dilated, with a cache": am.dilated(2).dense(am.Frame(3, 8, align="end")),
    "tree": am.tree([-1, 0, 0, 1, 1, 2, 2, 3]).dense(8),
    "grid": am.grid((5, 9), (3, 3)).dense(45),
    "axial": am.axial((4, 5), 0).dense(20),
    "everything": am.everything().dense(4),
    "one query with a cache": am.causal().dense(am.Frame(1, 6, align="end")),
    "two queries with a cache": am.causal().dense(am.Frame(2, 6, align="end")),
    "5 x 9 from the end": am.causal().dense(am.Frame(5, 9, align="end")),
    "5 x 9 from the start": am.causal().dense(am.Frame(5, 9, align="start")),
    "5 x 9 window": am.window(2).dense(am.Frame(5, 9, align="end")),
    "cross-attention to padding": am.padding([3, 2]).dense(am.Frame(2, 5)),
    "another mask in each head": np.stack([LOWER, am.window(1).dense(6)[0, 0], am.window(1, 1).dense(6)[0, 0]]),
    "one more key, the first, that all see": np.hstack([np.ones((5, 1), bool), np.tri(5, dtype=bool)]),
    "one more key, the last, that all see": np.hstack([np.tri(5, dtype=bool), np.ones((5, 1), bool)]),
    "blockwise": np.kron(np.tri(3), np.ones((2, 2))).astype(bool),
    "blockwise bias": bias(BLOCKS, -INF),
    "five axes": np.broadcast_to(LOWER, (2, 1, 3, 6, 6)),
    "scores": np.random.default_rng(0).normal(size=(4, 4)),
    "scores with -inf": np.where(LOWER, SCORES, -INF),
    "scores in which -1e9 replaced": np.where(LOWER, SCORES, -1e9),
    "ALiBi": -0.5 * np.abs(DISTANCE),
    "ALiBi of the past": -0.5 * np.maximum(DISTANCE, 0),
    "ALiBi with -inf": np.where(DISTANCE >= 0, -1.0 * DISTANCE, -INF),
    "ALiBi with -inf, far": np.where(np.tri(1500, dtype=bool), np.subtract.outer(-np.arange(1500.0), -np.arange(1500.0)), -INF),
}  # fmt: skip
