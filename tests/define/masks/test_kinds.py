"""Each kind of mask against its formula, written here a second time and independently."""

import importlib

import numpy as np
import pytest

import attnmask as am
from attnmask.define.kind import kinds
from attnmask.errors import MaskError

EXAMPLES = [
    (name, mask, frame)
    for name in kinds()
    for mask, frame in importlib.import_module(f"attnmask.define.masks.{name}").EXAMPLES
]


def visible(frame, rule, batch=1):
    """rule(b, q, k) at every position, by plain loops."""
    start = frame.q_start or 0
    return np.array(
        [[[[rule(b, start + q, k) for k in range(frame.kv_len)] for q in range(frame.q_len)]] for b in range(batch)],
        bool,
    )


FRAMES = [am.Frame(7), am.Frame(3, 7, align="end"), am.Frame(3, 7, align="start"), am.Frame(2, 7, q_start=4)]
LENGTHS = [3, 0, 7]
IDS = [[0, 0, 1, 1, 1, 2, 0], [5, 5, 5, 5, 5, 5, 5]]
VALID = np.array([[1, 0, 1, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0]], bool)
CELLS = np.random.default_rng(0).random((2, 1, 7, 7)) < 0.5
IMAGES = [[-1, 0, 0, -1, 1, 1, -1], [3, 3, 3, -2, 3, -1, -1]]
PATTERN = [[[[True, False, True], [False, True, False], [True, True, False]]], [[[False] * 3, [True] * 3, [False] * 3]]]
PARENTS = [[-1, 0, 0, 1, 3, 2, 3], [-1, -1, 1, 2, 0, 4, 5]]


def lineage(parents, node):
    """A node and all its ancestors."""
    return {node} | (lineage(parents, parents[node]) if parents[node] >= 0 else set())


FORMULAS = {
    "everything": (am.everything(), lambda b, q, k: True, 1),
    "nothing": (am.nothing(), lambda b, q, k: False, 1),
    "causal": (am.causal(), lambda b, q, k: k <= q, 1),
    "window": (am.window(2), lambda b, q, k: k in (q - 2, q - 1, q), 1),
    "window both": (am.window(1, 3), lambda b, q, k: -3 <= q - k <= 1, 1),
    "window left open": (am.window(None, 1), lambda b, q, k: k <= q + 1, 1),
    "window right open": (am.window(1, None), lambda b, q, k: k >= q - 1, 1),
    "window open": (am.window(None, None), lambda b, q, k: True, 1),
    "chunked": (am.chunked(3), lambda b, q, k: int(q / 3) == int(k / 3), 1),
    "padding": (am.padding(LENGTHS), lambda b, q, k: k < LENGTHS[b], 3),
    "padding one": (am.padding(4), lambda b, q, k: k < 4, 1),
    "padding left": (am.padding(LENGTHS, side="left", kv_len=7), lambda b, q, k: k >= 7 - LENGTHS[b], 3),
    "padding valid": (am.padding(valid=VALID), lambda b, q, k: VALID[b, k], 2),
    "padding valid one": (am.padding(valid=VALID[0]), lambda b, q, k: VALID[0, k], 1),
    "prefix LM": (am.prefix(LENGTHS) | am.causal(), lambda b, q, k: k < LENGTHS[b] or k <= q, 3),
    "documents": (am.documents(IDS), lambda b, q, k: IDS[b][q] == IDS[b][k], 2),
    "documents one": (am.documents(IDS[0]), lambda b, q, k: IDS[0][q] == IDS[0][k], 1),
    "documents lengths": (
        am.documents(lengths=[[2, 5], [7, 0]]),
        lambda b, q, k: b == 1 or (q < 2) == (k < 2),
        2,
    ),
    "table": (am.table(CELLS), lambda b, q, k: CELLS[b, 0, q, k], 2),
    "dilated": (am.dilated(3), lambda b, q, k: k in range(q % 3, 99, 3), 1),
    "strided": (am.strided(3), lambda b, q, k: k in (q, q - 1, q - 2, q - 3, q - 6), 1),
    "sinks": (am.sinks(2), lambda b, q, k: k in (0, 1), 1),
    "landmarks": (am.landmarks([1, 5]), lambda b, q, k: q in (1, 5) or k in (1, 5), 1),
    "landmarks batch": (am.landmarks([[0, 0], [2, 9]]), lambda b, q, k: [0, 2][b] in (q, k), 2),
    "blocks": (am.blocks(PATTERN, 3), lambda b, q, k: PATTERN[b][0][q // 3][k // 3], 2),
    "blocks one": (am.blocks(PATTERN[0][0], [3, 4]), lambda b, q, k: PATTERN[0][0][q // 3][k // 4], 1),
    "random_blocks": (am.random_blocks(7, 2, 4), lambda b, q, k: True, 1),  # four of four; test_blocks.py has more
    "grid": (am.grid([2, 4], [1, 3]), lambda b, q, k: q // 4 == k // 4 and abs(min(max(q % 4, 1), 2) - k % 4) <= 1, 1),
    "sliding_tiles": (am.sliding_tiles(8, 2, 4), lambda b, q, k: k // 2 in [(0, 1), (0, 1), (1, 2), (2, 3)][q // 2], 1),
    "axial": (am.axial([2, 4], 1), lambda b, q, k: (q < 4) == (k < 4), 1),
    "axial columns": (am.axial([2, 4], 0), lambda b, q, k: abs(q - k) in (0, 4), 1),
    "images": (am.images(IMAGES), lambda b, q, k: IMAGES[b][q] == IMAGES[b][k] >= 0, 2),
    "media": (am.media([[0, 3], [2, 4]], 4), lambda b, q, k: (k < 4) == (q < [3, 4][b]) and q >= [0, 2][b], 2),
    "block_diffusion": (
        am.block_diffusion(4, 2),  # noisy 0 1 | 2 3, clean 4 5 | 6
        lambda b, q, k: k in {0: (0, 1), 1: (2, 3, 4, 5), 2: (4, 5), 3: (4, 5, 6)}[q // 2],
        1,
    ),
    "shared_prefix": (
        am.shared_prefix([[2, 3, 2], [3, 4, 0]]),
        lambda b, q, k: k <= q and (k < [2, 3][b] or b == 1 or (q < 5) == (k < 5)),
        2,
    ),
    "graph": (am.graph([(0, 0), (5, 2), (4, 6)], 7), lambda b, q, k: (q, k) in {(0, 0), (5, 2), (4, 6)}, 1),
    "tree": (am.tree(PARENTS), lambda b, q, k: k in lineage(PARENTS[b], q), 2),
    "tree after a cache": (
        am.tree(PARENTS[0][:4], offset=3),
        lambda b, q, k: k <= q if q < 3 else k < 3 or k - 3 in lineage(PARENTS[0], q - 3),
        1,
    ),
}


@pytest.mark.parametrize("frame", FRAMES, ids=str)
@pytest.mark.parametrize("name", FORMULAS)
def test_kind_equals_its_formula(name, frame):
    mask, rule, batch = FORMULAS[name]
    assert np.array_equal(mask.dense(frame), visible(frame, rule, batch))


def test_every_kind_has_a_formula_here():
    written = {str(mask).partition("(")[0] for mask, _, _ in FORMULAS.values()}
    assert set(kinds()) <= written


def test_negative_query_positions_see_nothing_causally():
    assert am.causal().dense(am.Frame(5, 2, align="end"))[0, 0].astype(int).tolist() == [
        [0, 0],
        [0, 0],
        [0, 0],
        [1, 0],
        [1, 1],
    ]


@pytest.mark.parametrize(("name", "mask", "frame"), EXAMPLES, ids=[f"{name}-{frame}" for name, _, frame in EXAMPLES])
def test_examples_hold_and_read_back(name, mask, frame):
    assert am.parse(repr(mask)) == mask
    assert name in repr(mask)
    assert mask.count(frame) == int(mask.dense(frame).sum())


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda: am.window(-1), "left=-1"),
        (lambda: am.window(1, -2), "right=-2"),
        (lambda: am.window(2.5), "float64 values"),
        (lambda: am.window(True), "left=True"),
        (lambda: am.chunked(0), "size=0"),
        (lambda: am.padding([3, -1]), "[3, -1]"),
        (lambda: am.padding([[3, 1]]), "shape (1, 2)"),
        (lambda: am.padding([True, False]), "bool of shape (2,)"),
        (lambda: am.padding([2.5]), "float64 values"),
        (lambda: am.padding(), "both or neither"),
        (lambda: am.padding([2], valid=[True]), "both or neither"),
        (lambda: am.padding(valid=[1, 0]), "int of shape (2,)"),
        (lambda: am.padding(valid=np.ones((2, 1, 1, 4), bool)), "shape (2, 1, 1, 4)"),
        (lambda: am.padding([2], side="left"), "kv_len=None"),
        (lambda: am.padding([2, 9], side="left", kv_len=8), "[2, 9] with kv_len=8"),
        (lambda: am.padding([2], side="middle"), "side='middle'"),
        (lambda: am.prefix([-2]), "[-2]"),
        (lambda: am.documents(), "both or neither"),
        (lambda: am.documents([[True, False]]), "bool of shape (1, 2)"),
        (lambda: am.documents(lengths=[[2, 3], [1, 1]]), "sums [5, 2]"),
        (lambda: am.documents(lengths=[2, -3]), "smallest -3"),
        (lambda: am.documents([[0, 1], [0]]), "rows of shapes"),
        (lambda: am.table(np.ones((2, 2))), "float64 values"),
        (lambda: am.table(np.ones((2, 2), int)), "int of shape (2, 2)"),
        (lambda: am.table(np.ones((3, 2, 2), bool)), "shape (3, 2, 2)"),
        (lambda: am.table("causal"), "str values"),
    ],
)
def test_refusals(build, got):
    with pytest.raises(MaskError) as caught:
        build()
    assert got in caught.value.got
    assert caught.value.fix


def test_arrays_of_every_library_make_the_same_mask():
    import jax.numpy as jnp
    import torch

    expected = am.padding([3, 2])
    for lengths in (np.array([3, 2]), np.array([3, 2], np.int16), torch.tensor([3, 2]), jnp.array([3, 2]), (3, 2)):
        assert am.padding(lengths) == expected
        assert hash(am.padding(lengths)) == hash(expected)


def test_tables_are_frozen_copies():
    lengths = np.array([3, 2])
    mask = am.padding(lengths)
    lengths[:] = 0
    assert mask == am.padding([3, 2])
