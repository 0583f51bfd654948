"""Intervals, slices, varlen, native and predicate, each against the dense mask."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given

import attnmask as am
from attnmask.define.kind import kinds
from attnmask.errors import LoweringError
from attnmask.lower.forms import slices
from tests.strategies import frames, masks

EXAMPLES = [pair for name in kinds() for pair in importlib.import_module(f"attnmask.define.masks.{name}").EXAMPLES]


def test_intervals_by_hand():
    found = am.lower((am.sinks(1) | am.window(1)) & am.causal(), 5, "intervals")
    assert [found.runs.of(row) for row in range(5)] == [
        [(0, 1, 1)],
        [(0, 2, 1)],
        [(0, 3, 1)],
        [(0, 1, 1), (2, 4, 1)],
        [(0, 1, 1), (3, 5, 1)],
    ]


@given(masks, frames())
def test_property_slices_cover_exactly(mask, frame):
    if mask.dense(frame).shape[:2] != (1, 1):
        with pytest.raises(LoweringError, match="one batch and head"):
            am.lower(mask, frame, "slices")
        return
    found = am.lower(mask, frame, "slices")
    assert np.array_equal(slices.dense(found, frame.q_len, frame.kv_len), mask.dense(frame)[0, 0])
    assert sum(slices.dense([piece], frame.q_len, frame.kv_len).sum() for piece in found) == mask.count(
        frame
    )  # disjoint


def test_slices_are_few():
    assert len(am.lower(am.causal(), 100, "slices")) == 1
    assert len(am.lower(am.window(10), 100, "slices")) == 2
    assert len(am.lower(am.causal() & am.documents(np.arange(100) // 10), 100, "slices")) == 10
    assert len(am.lower(am.everything(), am.Frame(3, 7), "slices")) == 1
    assert [tuple(piece) for piece in am.lower(am.causal(), am.Frame(2, 5, align="end"), "slices")] == [(0, 2, 0, 5, 1)]


@pytest.mark.parametrize(
    ("mask", "length", "cu_seqlens", "window"),
    [
        (am.documents([1, 1, 1, 1, 2, 2, 2, 3, 3, 3]), 10, [0, 4, 7, 10], (None, None)),
        (am.causal() & am.documents(lengths=[4, 3, 3]), 10, [0, 4, 7, 10], (None, 0)),
        (am.window(3) & am.documents(lengths=[4, 6]), 10, [0, 4, 10], (3, 0)),
        (am.causal() & am.window(5, 2) & am.window(3, None), 6, [0, 6], (3, 0)),
        (am.padding([3, 1, 4]) & am.causal(), 4, [0, 3, 4, 8], (None, 0)),
        (am.padding([3, 0, 4]), 4, [0, 3, 7], (None, None)),
        (am.causal() & am.chunked(4), 10, [0, 4, 8, 10], (None, 0)),
        (am.chunked(4) & am.documents(lengths=[6, 4]), 10, [0, 4, 6, 8, 10], (None, None)),
        (am.documents([[0, 0, 1, 1], [0, 0, 0, 0]]), 4, [0, 2, 4, 8], (None, None)),
        (am.everything(), 5, [0, 5], (None, None)),
        (am.documents([0, 0, 1, 1, 2]) & am.padding(4), 5, [0, 2, 4], (None, None)),
    ],
)
def test_varlen(mask, length, cu_seqlens, window):
    found = am.lower(mask, length, "varlen")
    assert found.cu_seqlens.tolist() == cu_seqlens
    assert found.cu_seqlens.dtype == np.int32
    assert found.window == window
    assert found.causal == (window[1] == 0)
    assert found.max_seqlen == max(np.diff(cu_seqlens))
    assert np.array_equal(dense_of(found, mask.dense(length).shape), kept_rows(found, mask.dense(length)))


def dense_of(varlen, shape):
    """What a varlen kernel would show, spread over the flattened batch."""
    batch, _, length, _ = shape
    kept = np.arange(batch * length) if varlen.kept is None else varlen.kept
    result = np.zeros((batch * length,) * 2, bool)
    left, right = (10**9 if side is None else side for side in varlen.window)
    for first, last in zip(varlen.cu_seqlens[:-1], varlen.cu_seqlens[1:], strict=True):
        for q in range(first, last):
            for k in range(first, last):
                if q - k <= left and k - q <= right:
                    result[kept[q], kept[k]] = True
    return result


def kept_rows(varlen, dense):
    """The dense mask of the flattened batch, without the rows that varlen leaves out."""
    batch, _, length, _ = dense.shape
    result = np.zeros((batch * length,) * 2, bool)
    for row in range(batch):
        result[row * length : (row + 1) * length, row * length : (row + 1) * length] = dense[row, 0]
    if varlen.kept is not None:
        result[np.setdiff1d(np.arange(batch * length), varlen.kept)] = False
    return result


@pytest.mark.parametrize(
    ("mask", "frame", "got"),
    [
        (am.prefix(3) | am.causal(), 6, "prefix(3) | causal()"),
        (am.causal() & am.dilated(2), 6, "dilated(2)"),
        (am.padding([2], side="left", kv_len=6), 6, "side='left'"),
        (am.documents([0, 1, 0, 1]), 4, "documents([0, 1, 0, 1])"),
        (am.causal(), am.Frame(2, 6, align="end"), "Frame(2, 6"),
        (am.table(np.tril(np.ones((4, 4), bool))), 4, "table("),
    ],
)
def test_varlen_refuses_and_names_the_part(mask, frame, got):
    with pytest.raises(LoweringError) as caught:
        am.lower(mask, frame, "varlen")
    assert got in caught.value.got


def test_native_names_parts_and_keeps_the_exact_rest():
    mask = am.causal() & am.window(4) & am.padding([3, 5]) & am.dilated(2)
    found = am.lower(mask, 5, "native")
    assert (found.left, found.right, found.causal) == (4, 0, True)
    assert found.lengths.tolist() == [3, 5]
    assert repr(found.remainder) == "dilated(2)"
    assert am.lower(am.everything(), 5, "native") == am.lower(am.everything() & am.everything(), 5, "native")
    two = am.documents([0, 0, 1]) & am.documents([0, 1, 1])
    found = am.lower(two, 3, "native")
    assert found.documents.tolist() == [0, 0, 1]
    assert found.remainder == am.documents([0, 1, 1])
    assert am.lower(am.causal() | am.sinks(2), 3, "native").remainder == am.causal() | am.sinks(2)
    with pytest.raises(LoweringError, match="causally"):
        am.lower(am.causal(), 3, "native", knows=("causally",))


@given(masks, frames())
def test_property_native_loses_nothing(mask, frame):
    found = am.lower(mask, frame, "native", knows=("left", "right"))
    again = am.everything() if found.remainder is None else found.remainder
    again = again if found.left is None else again & (am.q - am.k <= found.left)
    again = again if found.right is None else again & (am.k - am.q <= found.right)
    assert np.array_equal(*np.broadcast_arrays(again.dense(frame), mask.dense(frame)))


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=str)
def test_predicate_speaks_of_rows_of_the_frame(mask, frame):
    dense = mask.dense(frame)
    sees = am.lower(mask, frame, "predicate")
    positions = torch.meshgrid(*(torch.arange(size) for size in dense.shape), indexing="ij")
    found = sees(*positions)
    assert np.array_equal(np.broadcast_to(found.numpy(), dense.shape), dense)
    assert bool(sees(0, 0, 0, 0)) == dense[0, 0, 0, 0]


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=str)
def test_predicates_are_the_mask_in_every_library(mask, frame):
    import jax.numpy as jnp

    dense, sees = mask.dense(frame), am.lower(mask, frame, "predicate")
    for asarray in (np.asarray, torch.tensor, jnp.asarray):
        positions = (asarray(place) for place in np.ix_(*(np.arange(size) for size in dense.shape)))
        assert np.array_equal(np.broadcast_to(np.asarray(sees(*positions)), dense.shape), dense)


@pytest.mark.parametrize(
    "mask",
    [
        am.causal(),
        am.window(3) & am.documents(lengths=[4, 5]),
        am.tree([-1, 0, 0, 1, 3, 2, 1, 6, 0]),
        am.everything(),
        am.grid([3, 3], 3),
        am.graph([[0, 1], [8, 2], [5, 5]], 9),
        am.padding([3, 9]),
        am.nothing(),
    ],
    ids=str,
)
def test_predicates_inside_torch_compile(mask):
    """All tables are tensors before the compiler looks, so that one graph takes the whole function."""
    frame = am.Frame(4, 9, q_start=5)
    dense, sees = mask.dense(frame), am.lower(mask, frame, "predicate")

    def visible(b, h, q, k):
        return sees(b, h, q, k) & (k >= 0)

    torch._dynamo.reset()
    positions = [torch.tensor(place) for place in np.ix_(*(np.arange(size) for size in dense.shape))]
    found = torch.compile(visible, fullgraph=True, backend="eager")(*positions)
    assert np.array_equal(np.broadcast_to(found.numpy(), dense.shape), dense)


def test_predicates_refuse_what_jax_cannot_count():
    import jax.numpy as jnp

    mask, frame = am.q * am.q >= am.k * am.k, am.Frame(2, 50_000, align="end")
    sees = am.lower(mask, frame, "predicate")
    assert sees(0, 0, 1, 49_999)
    assert not sees(*torch.tensor([0, 0, 0, 49_999]))
    with pytest.raises(LoweringError, match="JAX computes positions in 32 bits"):
        sees(*jnp.asarray([0, 0, 0, 49_999]))
