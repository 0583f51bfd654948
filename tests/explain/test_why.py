import json

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameError
from attnmask.explain.why import why


def test_a_named_part_shows_its_definition_with_numbers():
    assert why(am.causal(), q=7, k=9).text() == ("query 7 does not see key 9\n  causal() is False: k <= q, 9 <= 7")


def test_a_tree_of_parts():
    answer = why(am.prefix(2) | am.window(4) - am.chunked(4), q=9, k=7)
    assert answer.text().splitlines() == [
        "query 9 sees key 7",
        "  prefix(2) | window(4) & ~chunked(4) is True",
        "    prefix(2) is False: k < lookup(2), 7 < lookup(2), 7 < 2",
        "    window(4) & ~chunked(4) is True",
        "      window(4) is True: (q - k <= 4) & (k - q <= 0)",
        "        q - k <= 4 is True: 9 - 7 <= 4, 2 <= 4",
        "        k - q <= 0 is True: 7 - 9 <= 0, -2 <= 0",
        "      ~chunked(4) is True",
        "        chunked(4) is False: same(q // 4, k // 4), same(9 // 4, 7 // 4), same(2, 1)",
    ]
    assert [part.value for part in answer.parts.parts] == [False, True]


def test_looked_up_values_are_shown():
    assert "same(lookup([0, 0, 1], 2), lookup([0, 0, 1], 1)), same(1, 0)" in repr(
        why(am.documents([0, 0, 1]), q=2, k=1)
    )


def test_large_tables_are_abbreviated():
    mask = am.documents(list(range(50)))
    assert "documents(<int 50>) is True" in why(mask, q=4, k=4).text()


def test_batch_and_head_are_named_where_they_matter():
    assert why(am.padding([3, 2]), q=0, k=2, b=1).text().startswith("query 0 does not see key 2 (batch 1)")
    table = am.table(np.ones((1, 2, 2, 2), dtype=bool))
    assert why(table, q=0, k=1, h=1).text().startswith("query 0 sees key 1 (head 1)")


def test_conditions_inside_numbers_are_parts():
    answer = why(am.where(am.causal(), am.q, 0) < 3, q=5, k=1)
    assert [(part.text, part.value) for part in answer.parts.parts] == [("causal()", True)]
    assert answer.parts.steps == ("where(1 <= 5, 5, 0) < 3", "5 < 3")


@pytest.mark.parametrize(
    "mask", [am.causal() & am.padding([3, 2]), am.window(1, 2) | am.prefix(1), ~am.causal().shift(q=2)]
)
def test_the_answer_is_that_of_the_dense_mask(mask):
    dense = mask.dense(4)
    for b, h, q, k in np.ndindex(dense.shape):
        assert why(mask, q=q, k=k, b=b, h=h).visible == dense[b, h, q, k]


def test_positions_of_a_frame_that_starts_later():
    dense = am.window(2).dense(am.Frame(2, 9, align="end"))
    assert [why(am.window(2), q=8, k=k).visible for k in range(9)] == dense[0, 0, 1].tolist()


def test_json():
    content = json.loads(why(am.causal(), q=np.int64(1), k=0).to_json())
    assert content == {
        "mask": "causal()",
        "q": 1,
        "k": 0,
        "b": 0,
        "h": 0,
        "visible": True,
        "parts": {"text": "causal()", "value": True, "steps": ["k <= q", "0 <= 1"], "parts": []},
    }


@pytest.mark.parametrize(
    ("mask", "position", "text"),
    [
        (am.causal(), {"q": -1, "k": 0}, "positions count from 0; got q=-1. Write q=length-1 to count from the end."),
        (am.causal(), {"q": 1.5, "k": 0}, "positions are whole numbers; got q=1.5. Write q=int(...)."),
        (am.causal(), {"q": True, "k": 0}, "positions are whole numbers; got q=True. Write q=int(...)."),
        (
            am.documents([0, 1]),
            {"q": 2, "k": 0},
            "a table is asked for positions that it has; got q = 2, but a table of shape (2,) in documents([0, 1]). "
            "Give a position within 0 .. 1.",
        ),
        (
            am.same(am.lookup([5], am.lookup([0, 1], am.q)), 5),
            {"q": 1, "k": 0},
            "a table is asked for positions that it has; got lookup([0, 1], q) = 1, but a table of shape (1,) in "
            "same(lookup([5], lookup([0, 1], q)), 5). Give a position within 0 .. 0.",
        ),
    ],
)
def test_refusals(mask, position, text):
    with pytest.raises(FrameError) as caught:
        why(mask, **position)
    assert str(caught.value) == text


STREAMING = (am.causal() | am.chunked(4)).dense(13)[0, 0]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (STREAMING, "which is causal() | chunked(4)"),
        (~STREAMING, "which is ~(causal() | chunked(4))"),
        (am.tree([-1, 0, 0, 1, 1, 2]).dense(6)[0, 0], "which is tree([-1, 0, 0, 1, 1, 2])"),
        (np.random.default_rng(0).random((13, 13)) < 0.5, "which is near no known mask: 78 of 169 cells are visible"),
    ],
)
def test_a_table_is_said_in_words(array, words):
    assert f": {words}, lookup(" in am.why(am.table(array), q=3, k=5).text()
