"""Calls say what their mask is, where their queries stand, and when these see no cache."""

import numpy as np
import pytest

import attnmask as am
from attnmask.verify.calls import Call

CASES = [
    (am.causal(), am.Frame(6), "causal()", False),
    (am.causal(), am.Frame(4, 8, q_start=4), "causal(), q_start=4", False),
    (am.causal(), am.Frame(4, 8, q_start=0), "causal(), q_start=0", True),
    (am.causal(), am.Frame(1, 9, q_start=0), "causal(), q_start=0", True),
    (am.causal(), am.Frame(1, 9, q_start=8), "everything()", False),
    (am.window(2), am.Frame(5, 12, q_start=0), "window(2), q_start=0", True),
    (am.window(3), am.Frame(1, 9, q_start=8), "window(3), q_start=8", False),
    (am.padding([5, 3]), am.Frame(4, 8), "padding([5, 3])", False),
    (am.causal(), am.Frame(8, 4, q_start=0), "causal(), q_start=0", False),
]


@pytest.mark.parametrize(("mask", "frame", "name", "hidden"), CASES, ids=str)
def test_names_and_alignment(mask, frame, name, hidden):
    call = Call("layer", "torch.sdpa", mask.dense(frame))
    assert call.name == name
    assert str(call) == f"layer: {name} via torch.sdpa, {frame.q_len} queries x {frame.kv_len} keys"
    assert ("hidden-cache" in [finding.code for finding in call.findings]) == hidden
    assert np.array_equal(np.broadcast_to(call.mask.dense(call.frame), call.visible.shape), call.visible)


def test_the_finding_says_what_to_write():
    call = Call("", "softmax", am.causal().dense(am.Frame(4, 8, q_start=0)))
    (finding,) = [finding for finding in call.findings if finding.code == "hidden-cache"]
    assert str(finding) == (
        "hidden-cache: 4 queries are aligned with the first of 8 keys: they see no cache before them "
        "(causal() fits with q_start=0 only). "
        "Align the last query with the last key: Frame(4, 8, align='end'), q_start=4."
    )


def test_a_table_is_said_in_words():
    array = am.window(3).dense(13)
    array[0, 0, [5, 6, 8, 12], [1, 2, 1, 7]] ^= True
    text = "table(<bool 13x13>): nearest is window(3), 4 cells differ: (5, 1), (6, 2), (8, 1), ..."
    assert Call("", "softmax", array).name == text
