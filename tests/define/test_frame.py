"""Frames, and the fit of masks into frames."""

import pytest

import attnmask as am
from attnmask.define.fit import fit
from attnmask.errors import FrameError


def test_alignment_is_said_once():
    assert am.Frame(2, 5, align="end") == am.Frame(2, 5, q_start=3)
    assert am.Frame(2, 5, align="start") == am.Frame(2, 5, q_start=0)
    assert am.Frame(5, 2, align="end").q_start == -3
    assert am.Frame(4).q_start == 0
    assert am.Frame(4, 6).q_start is None
    assert am.Frame(4, 4, q_start=2).q_start == 2
    assert am.Frame.of(3) == am.Frame(3, 3)


@pytest.mark.parametrize(
    "frame", [am.Frame(2, 5, align="end"), am.Frame(4), am.Frame(4, 6), am.Frame(4, 4, q_start=1, batch=2)]
)
def test_repr_reads_back(frame):
    assert eval(repr(frame), {"Frame": am.Frame}) == frame


@pytest.mark.parametrize(
    ("build", "got"),
    [
        (lambda: am.Frame(0), "q_len=0"),
        (lambda: am.Frame(2, -1), "kv_len=-1"),
        (lambda: am.Frame(2.0), "q_len=2.0"),
        (lambda: am.Frame(True), "q_len=True"),
        (lambda: am.Frame(2, batch=0), "batch=0"),
        (lambda: am.Frame(2, 5, align="left"), "'left'"),
        (lambda: am.Frame(2, 5, align="end", q_start=1), "q_start=1"),
        (lambda: am.causal().dense((2, 5)), "(2, 5)"),
        (lambda: am.causal().dense(am.Frame(2, 5)), "Frame(2, 5)"),
        (lambda: am.padding([3, 9]).dense(8), "a length of 9"),
        (lambda: am.prefix([9]).dense(8), "a length of 9"),
        (lambda: am.padding([3, 2]).dense(am.Frame(4, batch=3)), "batch=3"),
        (lambda: (am.padding([3, 2]) & am.documents([[0] * 4] * 3)).dense(4), "sizes [2, 3]"),
        (lambda: am.documents([0, 0, 1]).dense(4), "from 0 to 3"),
        (lambda: am.documents([0, 0, 1]).dense(am.Frame(2, 3, q_start=2)), "q from 2 to 3"),
        (lambda: am.table([[True, False]] * 2).dense(am.Frame(8, 2, q_start=0)), "q from 0 to 7"),
        (lambda: (am.h < 2).dense(4), "Frame(4)"),
        (lambda: am.lookup([1, 2], am.q - 1).__le__(am.k).dense(2), "q - 1 from -1"),
    ],
)
def test_refusals(build, got):
    with pytest.raises(FrameError) as caught:
        build()
    assert got in caught.value.got
    assert caught.value.fix


def test_a_batch_taken_for_queries_is_pointed_out():
    with pytest.raises(FrameError) as caught:
        am.table([[True, True, False], [True, False, False]]).dense(3)
    assert "padding(valid=array)" in caught.value.fix


def test_masks_that_do_not_depend_on_the_query_need_no_alignment():
    assert am.padding([3, 2]).dense(am.Frame(2, 5)).shape == (2, 1, 2, 5)
    assert am.everything().dense(am.Frame(2, 5)).all()


def test_fit_reads_batch_and_heads_from_the_tables():
    assert fit(am.padding([3, 2]), 4)[2:] == (0, 2, 1)
    assert fit(am.causal(), am.Frame(4, batch=7, heads=3))[2:] == (0, 1, 1)
    assert fit(am.h < 2, am.Frame(4, heads=3))[2:] == (0, 1, 3)
    per_head = am.q - am.k <= am.lookup([1, 2, 3], am.h)
    assert per_head.dense(4).shape == (1, 3, 4, 4)
