"""Block patterns, fixed and random, also per head."""

import subprocess
import sys

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameError, MaskError
from tests.define.masks.loops import assert_equal

RNG = np.random.default_rng(1)


@pytest.mark.parametrize(("batch", "heads"), [(1, 1), (2, 1), (1, 3), (2, 3)])
def test_blocks_per_sequence_and_head(batch, heads):
    pattern = RNG.random((batch, heads, 3, 4)) < 0.5
    assert_equal(am.blocks(pattern, [4, 3]), lambda b, h, q, k: pattern[b, h, q // 4, k // 3], 12, batch, heads)


def test_an_axis_of_size_1_stands_for_all():
    mask = am.blocks(np.eye(2, dtype=bool)[None, None], 2) & am.padding([3, 2])
    assert_equal(mask, lambda b, h, q, k: q // 2 == k // 2 and k < [3, 2][b], 4, batch=2)


def test_blocks_of_size_1_are_a_table():
    cells = RNG.random((6, 6)) < 0.5
    assert np.array_equal(am.blocks(cells, 1).dense(6), am.table(cells).dense(6))


def test_blocks_store_blocks_only():
    mask = am.blocks(np.ones((4, 4), bool), 1024)
    assert len(mask.to_json()) < 300
    with pytest.raises(FrameError, match=r"q // 1024 from 0 to 4, but a table of shape \(4, 4\)"):
        mask.dense(am.Frame(4097, 1, q_start=0))


@pytest.mark.parametrize(
    ("n", "size", "count", "heads"), [(12, 3, 2, None), (10, 4, 1, None), (9, 2, 5, 2), (8, 1, 3, 4)]
)
def test_random_blocks_draw_whole_blocks(n, size, count, heads):
    mask = am.random_blocks(n, size, count, heads=heads)
    total = -(-n // size)
    dense = mask.dense(total * size)
    assert dense.shape[:2] == (1, heads or 1)
    blocks = dense.reshape(heads or 1, total, size, total, size)
    pattern = blocks[:, :, 0, :, 0]
    assert (blocks == pattern[:, :, None, :, None]).all()
    assert (pattern.sum(-1) == count).all()
    assert np.array_equal(mask.dense(n), am.blocks(pattern[None], size).dense(n))


def test_random_blocks_are_drawn_by_the_seed_alone():
    again = am.random_blocks(64, 4, 3, seed=5)
    assert again == am.random_blocks(64, 4, 3, seed=5)
    assert again != am.random_blocks(64, 4, 3, seed=6)
    assert repr(again) == "random_blocks(64, 4, 3, seed=5)"
    heads = am.random_blocks(64, 4, 3, heads=2).dense(64)[0]
    assert not np.array_equal(heads[0], heads[1])


def test_random_blocks_are_the_same_in_every_process():
    code = "import attnmask as am; print(am.random_blocks(16, 2, 1, seed=9).node.body.args[0].table.tolist())"
    run = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)]
    assert run == ["[[[3, 2, 1, 6, 0, 4, 7, 0]]]\n"] * 2  # a change of this list changes users' masks


def test_random_blocks_cover_all_keys_evenly():
    dense = am.random_blocks(2000, 1, 4).dense(2000)[0, 0]
    assert abs(dense.sum(0).mean() - 4) < 1e-9
    assert dense.sum(0).max() < 20


def test_big_bird():
    """A window of three blocks, the first and last block global, and random blocks: the picture of the paper."""
    n, size = 24, 4
    window = abs(am.q // size - am.k // size) <= 1
    edges = am.landmarks([*range(size), *range(n - size, n)])
    mask = am.random_blocks(n, size, 2) | window | edges
    drawn = am.random_blocks(n, size, 2).dense(n)[0, 0]

    def rule(b, h, q, k):
        i, j = q // size, k // size
        return abs(i - j) <= 1 or i in (0, 5) or j in (0, 5) or drawn[q, k]

    assert_equal(mask, rule, n)


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda: am.blocks([[1, 0]], 2), "int of shape (1, 2)"),
        (lambda: am.blocks(np.ones((2, 3, 3), bool), 2), "bool of shape (2, 3, 3)"),
        (lambda: am.blocks([[True]], 0), "size=0"),
        (lambda: am.blocks([[True]], [2, 2, 2]), "size=[2, 2, 2]"),
        (lambda: am.random_blocks(8, 2, 5), "count=5 of 4 blocks"),
        (lambda: am.random_blocks(0, 2, 1), "n=0"),
        (lambda: am.random_blocks(8, 2, 0), "count=0"),
        (lambda: am.random_blocks(8, 2, 1, heads=0), "heads=0"),
        (lambda: am.random_blocks(8, 2, 1, seed=-1), "seed=-1"),
        (lambda: am.random_blocks(8, 2, 1, seed="7"), "seed='7'"),
    ],
)
def test_block_refusals(build, got):
    with pytest.raises(MaskError) as caught:
        build()
    assert caught.value.got == got
    assert caught.value.fix
