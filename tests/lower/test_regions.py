"""Tiles: sound and exact for every kind and for random expressions, and the blocks of torch's create_block_mask."""

import importlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import create_block_mask

import attnmask as am
from attnmask.define.bounds.witness import Witnesses
from attnmask.define.kind import kinds
from attnmask.define.language import fold
from attnmask.errors import LoweringError
from attnmask.lower import regions
from attnmask.lower.arrays import evaluate
from attnmask.lower.ranges import table_ranges
from tests.lower.at_length import kinds_at
from tests.strategies import frames, masks

EXAMPLES = [pair for name in kinds() for pair in importlib.import_module(f"attnmask.define.masks.{name}").EXAMPLES]
LENGTHS = [1, 127, 128, 129, 300, 1025]


def by_looking(mask, frame, q_tile, kv_tile, hidden_edges=True):
    """The kind of every tile from the dense mask."""
    dense = mask.dense(frame)
    pads = [-(-size // tile) * tile - size for size, tile in zip(dense.shape[2:], (q_tile, kv_tile), strict=True)]
    padding = ((0, 0), (0, 0), (0, pads[0]), (0, pads[1]))
    some = np.pad(dense, padding)
    every = np.pad(dense, padding, constant_values=not hidden_edges)
    shape = (*dense.shape[:2], some.shape[2] // q_tile, q_tile, some.shape[3] // kv_tile, kv_tile)
    return np.where(every.reshape(shape).all((3, 5)), 2, some.reshape(shape).any((3, 5)).astype(int))


@given(masks, frames(), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_property_tiles_are_exact(mask, frame, q_tile, kv_tile, hidden):
    found = am.lower(mask, frame, "tiles", tile=(q_tile, kv_tile), edges="hidden" if hidden else "cut")
    assert np.array_equal(found.dense(), by_looking(mask, frame, q_tile, kv_tile, hidden))


@given(masks, frames())
def test_property_every_form_agrees(mask, frame):
    dense = mask.dense(frame)
    assert np.array_equal(am.lower(mask, frame, "intervals").dense(), dense)
    assert mask.count(frame) == dense.sum()
    assert np.array_equal(mask.empty_rows(frame), ~dense.any(-1))


@given(
    masks,
    st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted),
    st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted),
)
def test_property_witnesses_are_certain(mask, q, k):
    """What witnesses claim is there, on single tiles with NumPy's table ranges."""
    ranges = {
        name: tuple(np.array([end]) for end in pair)
        for name, pair in {"b": (0, 0), "h": (0, 0), "q": q, "k": k}.items()
    }
    truth = fold(mask.node, Witnesses(ranges, table_ranges, np))
    found = np.asarray(evaluate(mask.node, 0, 0, np.arange(q[0], q[1] + 1)[:, None], np.arange(k[0], k[1] + 1)), bool)
    all_, any_, true, false = (bool(np.all(part)) for part in truth)
    assert not all_ or found.all()
    assert any_ or not found.any()
    assert not true or found.any()
    assert not false or not found.all()


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=str)
@pytest.mark.parametrize("tile", [1, 2, 3, (4, 2)])
def test_examples_of_every_kind(mask, frame, tile):
    pair = tile if isinstance(tile, tuple) else (tile, tile)
    assert np.array_equal(am.lower(mask, frame, "tiles", tile=tile).dense(), by_looking(mask, frame, *pair))
    assert np.array_equal(am.lower(mask, frame, "intervals").dense(), mask.dense(frame))


def blocks_of(block_mask, columns):
    """The kind of every block of torch's BlockMask."""
    dense = torch.zeros((*block_mask.kv_num_blocks.shape, columns), dtype=torch.int8)
    for kind, counts, indices in (
        (regions.PARTIAL, block_mask.kv_num_blocks, block_mask.kv_indices),
        (regions.FULL, block_mask.full_kv_num_blocks, block_mask.full_kv_indices),
    ):
        for place in np.ndindex(*counts.shape):
            dense[place][indices[place][: counts[place]].long()] = kind
    return dense.numpy()


def torchs_blocks(mask, frame, batch, heads):
    mask_mod = am.lower(mask, frame, "predicate")
    built = create_block_mask(mask_mod, batch, heads, frame.q_len, frame.kv_len, device="cpu")
    return blocks_of(built, -(-frame.kv_len // 128))


@pytest.mark.parametrize("n", LENGTHS)
def test_the_blocks_of_create_block_mask(n):
    for name, mask in kinds_at(n).items():
        tiles = am.lower(mask, n, "tiles")
        assert np.array_equal(tiles.dense(), torchs_blocks(mask, am.Frame(n), *tiles.shape[:2])), name


@pytest.mark.parametrize("name", kinds_at(8))
def test_the_blocks_of_create_block_mask_at_4096(name):
    mask = kinds_at(4096)[name]
    tiles = am.lower(mask, 4096, "tiles")
    assert np.array_equal(tiles.dense(), torchs_blocks(mask, am.Frame(4096), *tiles.shape[:2]))


@pytest.mark.parametrize("n", [600, 300])
@pytest.mark.parametrize("q_len", [70, 129, 257])
def test_the_blocks_of_create_block_mask_in_rectangular_frames(n, q_len):
    frame = am.Frame(q_len, n, q_start=n - q_len - 30)
    for name, mask in kinds_at(n).items():
        tiles = am.lower(mask, frame, "tiles")
        assert np.array_equal(tiles.dense(), torchs_blocks(mask, frame, *tiles.shape[:2])), name


def test_every_kind_is_among_the_kinds_at_a_length():
    texts = " ".join(map(str, kinds_at(64).values()))
    assert [name for name in kinds() if f"{name}(" not in texts] == []


def test_undecided_tiles_are_looked_at_position_by_position_at_most():
    """A mask that bounds and corners say nothing about: one visible position in the middle of a tile."""
    mask = am.same(am.q * am.k % 1009, 17 * 23) & am.same((am.q + am.k) % 1013, 40)
    found = am.lower(mask, 64, "tiles", tile=64).dense()
    assert np.array_equal(found, by_looking(mask, am.Frame(64), 64, 64))


def test_a_million_tokens_take_little_memory():
    import tracemalloc

    mask = am.causal() & am.window(4095) & am.documents(np.arange(1 << 20) // 1000)
    tracemalloc.start()
    tiles = am.lower(mask, 1 << 20, "tiles")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tiles.count(1) > 0
    assert peak < 200e6


@pytest.mark.parametrize("options", [{"tile": 0}, {"tile": (4, -1)}, {"edges": "soft"}])
def test_refusals(options):
    with pytest.raises(LoweringError):
        am.lower(am.causal(), 8, "tiles", **options)


def test_counts_of_tiles():
    tiles = am.lower(am.causal(), 1024, "tiles")
    assert (tiles.count(0), tiles.count(1), tiles.count(2)) == (28, 8, 28)
    assert tiles.shape == (1, 1, 8, 8)
