"""Bounds: whatever an expression is on a tile lies inside them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.bounds.bounds import bounds
from attnmask.lower.arrays import evaluate
from tests.strategies import masks, terms

ranges = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted).map(tuple)


def values(node, tile):
    positions = {name: np.arange(low, high + 1) for name, (low, high) in tile.items()}
    grid = np.ix_(*positions.values())
    return np.asarray(evaluate(node, **dict(zip(positions, grid, strict=True)))).astype(int)


@given(masks, ranges, ranges, st.sampled_from([(0, 0), (1, 1), (0, 1)]))
def test_property_bounds_of_masks_are_sound(mask, q, k, b):
    tile = {"b": b, "h": (0, 0), "q": q, "k": k}
    low, high = bounds(mask.node, tile)
    found = values(mask.node, tile)
    assert low <= found.min()
    assert found.max() <= high


@given(terms(depth=3), ranges, ranges)
def test_property_bounds_of_terms_are_sound(term, q, k):
    tile = {"b": (0, 1), "h": (0, 0), "q": q, "k": k}
    low, high = bounds(term.node, tile)
    found = values(term.node, tile)
    assert low <= found.min()
    assert found.max() <= high


@given(masks, ranges, ranges)
def test_property_arrays_of_tiles_give_the_same_bounds(mask, q, k):
    from attnmask.define.bounds.bounds import Intervals
    from attnmask.define.language import fold

    tile = {"b": (0, 1), "h": (0, 0), "q": q, "k": k}
    arrays = {name: (np.array([low, low]), np.array([high, high])) for name, (low, high) in tile.items()}
    low, high = fold(mask.node, Intervals(arrays, arithmetic=np))
    assert np.broadcast_to(low, 2).tolist() == [bounds(mask.node, tile)[0]] * 2
    assert np.broadcast_to(high, 2).tolist() == [bounds(mask.node, tile)[1]] * 2


def test_exact_where_variables_occur_once():
    tile = {"b": (0, 0), "h": (0, 0), "q": (4, 7), "k": (0, 3)}
    assert bounds(am.causal().node, tile) == (1, 1)
    assert bounds(am.window(0).node, tile) == (0, 0)
    assert bounds((am.q % 4).node, tile) == (0, 3)
    assert bounds((am.q % 9).node, tile) == (4, 7)
