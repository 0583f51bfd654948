"""Kinds on grids against their rules in coordinates, written with loops over coordinates."""

import itertools
import math

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import MaskError
from tests.define.masks.loops import assert_equal


def coordinates(shape):
    """The coordinates of every position, row-major."""
    return list(itertools.product(*(range(length) for length in shape)))


def natten_window(i, length, kernel, dilation, edge):
    """The coordinates that i sees, as the NATTEN paper describes them: slide over the own dilation group."""
    group = [place for place in range(length) if place % dilation == i % dilation]
    place = group.index(i)
    if edge == "clip":
        left, right = kernel // 2, (kernel - 1) // 2
        return group[max(place - left, 0) : place + right + 1]
    windows = [group[start : start + kernel] for start in range(len(group) - kernel + 1)]
    return windows[min(max(place - kernel // 2, 0), len(windows) - 1)]


GRIDS = [
    ((7,), (3,), (1,)),
    ((8,), (4,), (1,)),
    ((8,), (8,), (1,)),
    ((7,), (1,), (1,)),
    ((9,), (3,), (2,)),
    ((10,), (3,), (3,)),
    ((11,), (2,), (4,)),
    ((3, 4), (3, 2), (1, 1)),
    ((5, 4), (3, 3), (1, 1)),
    ((4, 6), (2, 3), (2, 2)),
    ((1, 5), (1, 3), (1, 1)),
    ((2, 3, 4), (1, 3, 2), (1, 1, 2)),
    ((3, 3, 3), (3, 1, 3), (1, 1, 1)),
]


@pytest.mark.parametrize("edge", ["shift", "clip"])
@pytest.mark.parametrize(("shape", "kernel", "dilation"), GRIDS, ids=str)
def test_grid_is_natten(shape, kernel, dilation, edge):
    places = coordinates(shape)

    def rule(b, h, q, k):
        axes = zip(places[q], places[k], shape, kernel, dilation, strict=True)
        return all(j in natten_window(i, length, wide, step, edge) for i, j, length, wide, step in axes)

    mask = am.grid(shape, kernel, dilation, edge)
    assert_equal(mask, rule, math.prod(shape))
    if edge == "shift":
        assert (mask.dense(math.prod(shape)).sum(-1) == math.prod(kernel)).all()


def test_grid_of_one_number_per_argument():
    assert am.grid(8, 3) == am.grid([8], [3], [1])
    assert am.grid([4, 4], 3, 1) == am.grid((4, 4), (3, 3), np.array([1, 1]))


def test_positions_outside_a_grid_see_nothing():
    dense = am.grid([2, 3], 1).dense(am.Frame(10, 9, q_start=-2))[0, 0]
    assert np.array_equal(dense, np.pad(np.eye(6, dtype=bool), ((2, 2), (0, 3))))
    assert not am.axial([2, 3], 0).dense(am.Frame(3, 9, q_start=6)).any()
    assert not am.sliding_tiles([2, 4], 2, 2).dense(am.Frame(3, 9, q_start=-3)).any()


def test_text_beside_an_image():
    text = 3
    mask = am.grid([2, 2], 1).shift(q=-text, k=-text) | (am.k < text) | (am.q < text)
    assert_equal(mask, lambda b, h, q, k: q == k or q < text or k < text, text + 4)


TILES = [((4, 6), (2, 2), (2, 6)), ((6, 4), (2, 1), (4, 3)), ((2, 4, 4), (1, 2, 2), (1, 4, 2)), ((12,), (3,), (9,))]


@pytest.mark.parametrize(("shape", "tile", "kernel"), TILES, ids=str)
def test_sliding_tiles(shape, tile, kernel):
    """A grid of tiles, seen by tokens: both orders hold the same pairs of pixels."""
    counts = [length // size for length, size in zip(shape, tile, strict=True)]
    wide = [span // size for span, size in zip(kernel, tile, strict=True)]

    def tile_of(place):
        return [i // size for i, size in zip(place, tile, strict=True)]

    def sees(one, other):
        axes = zip(tile_of(one), tile_of(other), counts, wide, strict=True)
        return all(j in natten_window(i, count, span, 1, "shift") for i, j, count, span in axes)

    rows = coordinates(shape)
    tiled = sorted(rows, key=lambda place: (tile_of(place), [i % size for i, size in zip(place, tile, strict=True)]))
    for order, places in (("row", rows), ("tile", tiled)):
        mask = am.sliding_tiles(shape, tile, kernel, order=order)
        assert_equal(mask, lambda b, h, q, k, places=places: sees(places[q], places[k]), math.prod(shape))


def test_tiles_of_one_position_are_a_grid():
    frame = am.Frame(24)
    assert np.array_equal(am.sliding_tiles([4, 6], 1, [3, 2]).dense(frame), am.grid([4, 6], [3, 2]).dense(frame))


AXES = [((3, 4), 0), ((3, 4), 1), ((2, 3, 4), 1), ((2, 3, 4), (1, 2)), ((2, 3, 4), (0, 2)), ((2, 2), (0, 1)), ((5,), 0)]


@pytest.mark.parametrize(("shape", "axis"), AXES, ids=str)
def test_axial(shape, axis):
    places = coordinates(shape)
    free = {axis} if isinstance(axis, int) else set(axis)

    def rule(b, h, q, k):
        return all(places[q][at] == places[k][at] for at in range(len(shape)) if at not in free)

    assert_equal(am.axial(shape, axis), rule, math.prod(shape))


def test_axial_counts_negative_axes_from_the_last():
    assert am.axial([2, 3, 4], -1) == am.axial([2, 3, 4], 2)
    assert am.axial([2, 3, 4], [0, -1]) == am.axial([2, 3, 4], [0, 2])


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda: am.grid([2, 3, 4, 5], 1), "shape=[2, 3, 4, 5]"),
        (lambda: am.grid([], 1), "shape=[]"),
        (lambda: am.grid(0, 1), "shape=0"),
        (lambda: am.grid([[2, 3]], 1), "shape=[[2, 3]]"),
        (lambda: am.grid([4, 4], [3, 3, 3]), "kernel=[3, 3, 3]"),
        (lambda: am.grid([4, 4], 0), "kernel=0"),
        (lambda: am.grid([4, 4], True), "kernel=True"),
        (lambda: am.grid([4, 4], 3, dilation=0), "dilation=0"),
        (lambda: am.grid([4, 4], 5), "kernel 5 * dilation 1 for an axis of length 4"),
        (lambda: am.grid(8, 3, dilation=3), "kernel 3 * dilation 3 for an axis of length 8"),
        (lambda: am.grid([4, 4], 3, edge="wrap"), "edge='wrap'"),
        (lambda: am.sliding_tiles([4, 6], 4, 4), "length 6, tile 4, kernel 4"),
        (lambda: am.sliding_tiles([4, 6], 2, 3), "length 4, tile 2, kernel 3"),
        (lambda: am.sliding_tiles([4, 6], 2, 6), "length 4, tile 2, kernel 6"),
        (lambda: am.sliding_tiles([4, 6], 2, 2, order="column"), "order='column'"),
        (lambda: am.axial([2, 3], 2), "axis=2"),
        (lambda: am.axial([2, 3], -3), "axis=-3"),
        (lambda: am.axial([2, 3], [0, 5]), "axis=[0, 5]"),
        (lambda: am.axial([2, 3], True), "axis=True"),
    ],
)
def test_grid_refusals(build, got):
    with pytest.raises(MaskError) as caught:
        build()
    assert caught.value.got == got
    assert caught.value.rule
    assert caught.value.fix
