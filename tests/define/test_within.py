"""``within`` counts positions per document; ``shift`` with one step per sequence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.errors import FrameError, MaskError
from tests.define.masks.loops import assert_equal, visible
from tests.strategies import relative

LENGTHS = [4, 1, 3]
START = [0, 0, 0, 0, 4, 5, 5, 5]


@pytest.mark.parametrize(
    "documents", [am.documents(lengths=LENGTHS), START, np.array(START)], ids=["mask", "ids", "array"]
)
def test_positions_are_counted_from_the_start_of_the_document(documents):
    mask = am.chunked(2).within(documents)
    assert_equal(mask, lambda b, h, q, k: START[q] == START[k] and (q - START[q]) // 2 == (k - START[k]) // 2, 8)


@given(relative(), st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_property_each_document_holds_the_mask_itself(mask, lengths):
    """Documents stand on the diagonal, each as the mask looks alone; nothing is visible between them."""
    batch = am.Frame(1, 9, q_start=0, batch=2)
    size = sum(lengths)
    dense = mask.within(am.documents(lengths=lengths)).dense(am.Frame(size, batch=batch.batch))
    expected = np.zeros_like(dense)
    start = 0
    for length in lengths:
        piece = slice(start, start + length)
        expected[..., piece, piece] = mask.dense(am.Frame(9, batch=2))[..., :length, :length]
        start += length
    assert np.array_equal(dense, expected)


def test_documents_per_sequence():
    ids = [[0, 0, 0, 1, 1], [7, 7, 7, 7, 7]]
    start = [[0, 0, 0, 3, 3], [0] * 5]
    mask = am.prefix([1, 2]).within(ids)
    assert_equal(mask, lambda b, h, q, k: ids[b][q] == ids[b][k] and k - start[b][k] < [1, 2][b], 5, batch=2)


def test_causal_and_windows_need_no_counting():
    documents = am.documents(lengths=LENGTHS)
    for mask in (am.causal(), am.window(1), am.window(2, 1), am.dilated(2)):
        assert np.array_equal(mask.within(documents).dense(8), (mask & documents).dense(8))


def test_a_prompt_in_each_document():
    mask = (am.prefix(2) | am.causal()).within(am.documents(lengths=LENGTHS))
    assert_equal(mask, lambda b, h, q, k: START[q] == START[k] and (k - START[k] < 2 or k <= q), 8)


def test_tables_reach_as_far_as_the_longest_document():
    cells = np.random.default_rng(0).random((4, 4)) < 0.5
    mask = am.table(cells).within(am.documents(lengths=LENGTHS))
    assert_equal(mask, lambda b, h, q, k: START[q] == START[k] and cells[q - START[q], k - START[k]], 8)
    with pytest.raises(FrameError, match="a table covers every position"):
        am.table(cells[:3, :3]).within(am.documents(lengths=LENGTHS)).dense(8)


def test_within_and_shift_in_both_orders():
    mask = am.chunked(2).within(am.documents(lengths=[2, 6])).shift(q=2, k=2)
    assert_equal(mask, lambda b, h, q, k: q // 2 == k // 2, 5)
    inner = am.chunked(2).shift(q=1, k=1).within(am.documents(lengths=LENGTHS))
    assert_equal(
        inner, lambda b, h, q, k: START[q] == START[k] and (q - START[q] + 1) // 2 == (k - START[k] + 1) // 2, 8
    )


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (am.chunked(2).within(am.documents(lengths=[5, 4])), "chunked(2).within(documents(lengths=[5, 4]))"),
        (am.window(3).within([0, 0, 1]), "window(3).within(documents([0, 0, 1]))"),
        ((am.causal() & am.sinks(1)).within([3, 3]), "(causal() & sinks(1)).within(documents([3, 3]))"),
        (am.causal().shift(q=[3, 1]), "causal().shift(q=[3, 1])"),
    ],
)
def test_text_reads_back(mask, text):
    assert repr(mask) == text
    assert am.parse(text) == mask
    assert am.Mask.from_json(mask.to_json()) == mask


def test_ids_as_text():
    assert am.parse("causal().within([0, 0, 1])") == am.causal().within([0, 0, 1])


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda: am.causal().within([0, 1, 0]), "document 0 at position 0 and again at 2"),
        (lambda: am.causal().within([[0, 0, 0], [1, 2, 1]]), "document 1 at position 0 and again at 2"),
        (lambda: am.causal().within(am.causal()), "causal()"),
        (lambda: am.causal().within(am.documents([0, 1]) & am.causal()), "documents([0, 1]) & causal()"),
        (lambda: am.causal().within([True, False]), "bool of shape (2,)"),
        (lambda: am.causal().within(am.documents([0, 1]).shift(q=1)), "documents([0, 1]).shift(q=1)"),
        (lambda: am.causal().shift(q=[[1, 2]]), "int of shape (1, 2)"),
        (lambda: am.causal().shift(k=[True, False]), "bool of shape (2,)"),
        (lambda: am.causal().shift(q=1.5), "float64 values"),
    ],
)
def test_within_refusals(build, got):
    with pytest.raises(MaskError) as caught:
        build()
    assert caught.value.got == got
    assert caught.value.fix


def test_a_ragged_batch_of_caches():
    """Each sequence decodes two tokens after its own cache: query i of sequence b stands at cached[b] + i."""
    cached = [3, 0, 5]
    mask = am.causal().shift(q=cached) & (am.k < am.lookup(cached, am.b) + 2)
    frame = am.Frame(2, 7, q_start=0)
    rows = mask.dense(frame)[:, 0].sum(-1)
    assert rows.tolist() == [[4, 5], [1, 2], [6, 7]]
    assert np.array_equal(mask.dense(frame), visible(frame, lambda b, h, q, k: k <= q + cached[b], batch=3))


def test_lengths_in_other_coordinates_are_not_bounded_by_kv_len():
    assert am.padding(7).shift(k=4).dense(4)[0, 0, 0].tolist() == [True, True, True, False]
    assert am.padding([7, 5]).shift(k=[4, 1]).dense(4)[:, 0, 0].sum(-1).tolist() == [3, 4]


def test_a_step_per_sequence_equals_the_step_of_each():
    steps = [-2, 0, 4]
    whole = am.chunked(3).shift(q=steps, k=np.array(steps)).dense(8)
    for row, step in enumerate(steps):
        assert np.array_equal(whole[row : row + 1], am.chunked(3).shift(q=step, k=step).dense(8))
    assert am.causal().shift(q=np.int64(2)) == am.causal().shift(q=2)
