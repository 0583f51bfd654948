"""Trees of drafts, shared prompts, images, media and block diffusion, each against loops."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.parts.forest import numbered
from attnmask.errors import FrameError, MaskError
from tests.define.masks.loops import assert_equal, visible


@st.composite
def forests(draw):
    """Parents of a random forest, nodes numbered in any order."""
    size = draw(st.integers(1, 12))
    order = draw(st.permutations(range(size)))
    parents = [-1] * size
    for place in range(1, size):
        above = draw(st.integers(-1, place - 1))
        parents[order[place]] = order[above] if above >= 0 else -1
    return parents


def ancestors(parents):
    """Each node with its ancestors, by networkx."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(parents)))
    graph.add_edges_from((parent, node) for node, parent in enumerate(parents) if parent >= 0)
    return [nx.ancestors(graph, node) | {node} for node in range(len(parents))]


@given(forests())
def test_property_two_numbers_tell_the_ancestors(parents):
    first, last = numbered(parents)
    assert sorted(first) == list(range(len(parents)))
    above = ancestors(parents)
    for old in range(len(parents)):
        for young in range(len(parents)):
            assert (first[old] <= first[young] <= last[old]) == (old in above[young])


@given(forests(), st.integers(0, 4))
def test_property_a_tree_after_a_cache(parents, offset):
    above = ancestors(parents)
    frame = am.Frame(len(parents), offset + len(parents), align="end")
    dense = am.tree(parents, offset=offset).dense(frame)
    assert np.array_equal(dense, visible(frame, lambda b, h, q, k: k < offset or k - offset in above[q - offset]))


def test_a_tree_of_one_line_is_causal():
    assert np.array_equal(am.tree([-1, 0, 1, 2, 3]).dense(5), am.causal().dense(5))
    assert np.array_equal(am.tree([-1, 0, 1], offset=4).dense(7), am.causal().dense(7))


def test_a_long_tree_needs_no_recursion_and_no_matrix():
    mask = am.tree(range(-1, 4999))
    assert mask.dense(am.Frame(1, 5000, align="end")).all()
    assert sum(part.table.size for part in (mask.node.body.args[0].args[0], mask.node.body.args[1].args[1])) == 10_000


def test_trees_per_sequence():
    parents = [[-1, 0, 0, 1], [-1, -1, 1, 2]]
    above = [ancestors(row) for row in parents]
    assert_equal(am.tree(parents), lambda b, h, q, k: k in above[b][q], 4, batch=2)
    frame = am.Frame(4, 6, align="end")
    dense = am.tree(parents, offset=2).dense(frame)
    assert np.array_equal(dense, visible(frame, lambda b, h, q, k: k < 2 or k - 2 in above[b][q - 2], batch=2))


def test_a_tree_has_no_positions_behind_it():
    with pytest.raises(FrameError, match="a table covers every position"):
        am.tree([-1, 0]).dense(3)
    with pytest.raises(FrameError, match="a table covers every position"):
        am.tree([-1, 0], offset=2).dense(5)


def test_answers_share_a_prompt():
    part = [0, 0, 0, 1, 1, 2, 2, 2]
    assert_equal(am.shared_prefix([3, 2, 3]), lambda b, h, q, k: k <= q and part[k] in (0, part[q]), 8)


def test_a_conversation_that_branches():
    parents, part = [-1, 0, 1, 0, -1, 4], [0, 0, 1, 2, 2, 3, 4, 5, 5]
    above = ancestors(parents)
    mask = am.shared_prefix([2, 1, 2, 1, 1, 2], parents=parents)
    assert_equal(mask, lambda b, h, q, k: k <= q and part[k] in above[part[q]], 9)


def test_prompts_per_sequence():
    lengths, parents = [[2, 1, 2], [3, 2, 0]], [[-1, 0, 1], [-1, -1, 0]]
    part = [[0, 0, 1, 2, 2], [0, 0, 0, 1, 1]]
    above = [ancestors(row) for row in parents]
    mask = am.shared_prefix(lengths, parents=parents)
    assert_equal(mask, lambda b, h, q, k: k <= q and part[b][k] in above[b][part[b][q]], 5, batch=2)
    assert am.shared_prefix(lengths, parents=[-1, 0, 0]) == am.shared_prefix(lengths)


def test_images_in_text():
    ids = [-1, 0, 0, -5, 1, 1, 1, -5]
    mask = am.causal() | am.images(ids)
    assert_equal(mask, lambda b, h, q, k: k <= q or (ids[q] == ids[k] and ids[q] >= 0), 8)
    assert not am.images([-1, -1, -1]).dense(3).any()


def test_an_image_and_a_window_are_combined_by_choice():
    ids = [0, 0, 0, 0, -1, -1]
    whole = (am.causal() & am.window(1)) | am.images(ids)
    cut = (am.causal() | am.images(ids)) & am.window(1, 1)
    assert whole.dense(6)[0, 0, :4, :4].all()
    assert_equal(cut, lambda b, h, q, k: abs(q - k) <= 1 and (k <= q or (q < 4 and k < 4)), 6)


def test_media_last_image_only():
    starts, size = [1, 3, 4], 2

    def last(q):
        seen = [image for image, start in enumerate(starts) if start <= q]
        return seen[-1] if seen else None

    for frame in (am.Frame(7, 6, q_start=0), am.Frame(2, 6, q_start=2), am.Frame(1, 6, q_start=1000)):
        dense = am.media(starts, size).dense(frame)
        assert np.array_equal(dense, visible(frame, lambda b, h, q, k: last(q) == k // size))
    assert am.media(starts, size).empty_rows(am.Frame(2, 6, q_start=0))[0, 0].tolist() == [True, False]


def test_media_every_earlier_image():
    starts = [[0, 2, 5], [1, 1, 4]]
    mask = am.media(starts, 2, ends=[[8] * 3] * 2)
    frame = am.Frame(8, 6, q_start=0)
    assert np.array_equal(mask.dense(frame), visible(frame, lambda b, h, q, k: starts[b][k // 2] <= q, batch=2))


@pytest.mark.parametrize(("n", "size"), [(6, 2), (5, 2), (4, 4), (3, 1), (2, 5)])
def test_block_diffusion(n, size):
    """The three parts of BD3-LM, block by block."""

    def rule(b, h, q, k):
        i, j = (q - n if q >= n else q) // size, (k - n if k >= n else k) // size
        if q >= 2 * n or k >= 2 * n:
            return False
        return {(0, 0): i == j, (0, 1): i > j, (1, 1): i >= j, (1, 0): False}[q >= n, k >= n]

    assert_equal(am.block_diffusion(n, size), rule, 2 * n + 1)


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda: am.tree([1, 2, 0]), "node 0, whose ancestors end at no root"),
        (lambda: am.tree([-1, 5]), "parent 5 of node 1 among 2 nodes"),
        (lambda: am.tree([-1, -2]), "parent -2 of node 1 among 2 nodes"),
        (lambda: am.tree([-1, 1]), "node 1, whose ancestors end at no root"),
        (lambda: am.tree([[[-1]]]), "int of shape (1, 1, 1)"),
        (lambda: am.tree([True, False]), "bool of shape (2,)"),
        (lambda: am.tree([-1, 0], offset=-1), "offset=-1"),
        (lambda: am.shared_prefix([2, -1]), "[2, -1]"),
        (lambda: am.shared_prefix([[2, 1], [2, 2]]), "[[2, 1], [2, 2]]"),
        (lambda: am.shared_prefix([2, 1, 1], parents=[-1, 2, 0]), "parent 2 of part 1"),
        (lambda: am.shared_prefix([2, 1, 1], parents=[-1, 1, 0]), "parent 1 of part 1"),
        (lambda: am.shared_prefix([2, 1, 1], parents=[-1, 0]), "(3,) and (2,)"),
        (lambda: am.shared_prefix([2, 1], parents=[[-1, 0], [-1, 0]]), "(2,) and (2, 2)"),
        (lambda: am.shared_prefix([2.0, 1]), "float64 values"),
        (lambda: am.images([[True]]), "bool of shape (1, 1)"),
        (lambda: am.images(3), "int of shape ()"),
        (lambda: am.media([3, 1], 2), "[3, 1]"),
        (lambda: am.media([1, 3], 0), "size=0"),
        (lambda: am.media([1, 3], 2, ends=[3]), "(2,) and (1,)"),
        (lambda: am.block_diffusion(0, 2), "n=0"),
        (lambda: am.block_diffusion(4, 0), "size=0"),
    ],
)
def test_tree_refusals(build, got):
    with pytest.raises(MaskError) as caught:
        build()
    assert caught.value.got == got
    assert caught.value.fix
