"""What has no name: the nearest known mask and the cells that differ; few cells are named, names are not over-fitted."""

import time

import numpy as np
import pytest

import attnmask as am
from attnmask.exchange.recognition.nearest import nearest
from attnmask.exchange.recognition.recognize import described, fits


def flipped(mask, cells, size=13, start=0):
    array = mask.dense(am.Frame(size, q_start=start))
    for q, k in cells:
        array[..., q - start, k] ^= True
    return array


CELLS = [(5, 2), (7, 2), (9, 12), (3, 11)]
STREAMING = am.causal() & (am.sinks(2) | am.window(3))


@pytest.mark.parametrize("mask", [am.causal(), am.window(3), STREAMING], ids=str)
def test_four_cells_of_169_differ(mask):
    array = flipped(mask, CELLS)
    found = nearest(array, 0)
    assert np.array_equal(found.mask.dense(13), mask.dense(13))
    assert {tuple(cell[2:]) for cell in [*found.missing.tolist(), *found.extra.tolist()]} == set(CELLS)
    text = described(array)
    assert text.startswith(f"table(<bool 13x13>): nearest is {found.mask}, 4 cells differ: (")


def test_cells_are_named_with_batch_and_head_where_these_matter():
    array = np.repeat(am.causal().dense(40), 2, axis=1)
    array[0, 1, 30, [1, 2, 4]] = False
    assert nearest(array, 0).missing.tolist() == [[0, 1, 30, 1], [0, 1, 30, 2], [0, 1, 30, 4]]


@pytest.mark.parametrize("count", [1, 5, 16])
def test_up_to_sixteen_cells_of_a_large_array_are_named(count):
    cells = [(60 - place, 3 * place) for place in range(count)]
    array = flipped(am.causal(), cells, 64)
    found = am.recognize(array)
    assert repr(found).startswith("causal() & ~graph(")
    assert np.array_equal(found.dense(64), array)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_random_arrays_get_no_over_fitted_names(seed, share):
    array = np.random.default_rng(seed).random((16, 16)) < share
    found = repr(am.recognize(array | array.T | np.eye(16, dtype=bool)))
    assert found.startswith("table(")


def test_both_alignments_are_told():
    start, end = fits(am.causal().dense(am.Frame(4, 8, q_start=0)))
    assert (start.q_start, repr(start.mask), end.q_start) == (0, "causal()", 4)
    assert [fit.q_start for fit in fits(am.causal().dense(am.Frame(4, 8, q_start=4)))] == [4, 0]
    assert fits(am.padding(5).dense(am.Frame(4, 8)))[1].mask == am.padding(5)  # fits both


SIZE = 4096


@pytest.mark.parametrize(
    ("array", "name", "seconds"),
    [
        (np.tril(np.ones((SIZE, SIZE), bool)), "causal()", 1),
        (np.random.default_rng(0).random((SIZE, SIZE)) < 0.5, "table(<bool 4096x4096>)", 5),
    ],
    ids=["causal", "random"],
)
def test_large_arrays_are_quick(array, name, seconds):
    begin = time.process_time()
    assert str(am.recognize(array)) == name
    assert time.process_time() - begin < 4 * seconds  # the goal is a quarter of it; machines differ
