"""The pairs that FlashAttention computes for our arguments, by its own documentation, are the pairs of the mask."""

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import LoweringError
from attnmask.exchange.sequences import Aligned, flash_calls

CAUSAL = am.causal()
DOCUMENTS = am.documents(lengths=[3, 1, 4])
BATCH_OF_DOCUMENTS = am.documents([[0, 0, 0, 1, 1, 1, 1, 2], [4, 4, 4, 4, 4, 4, 4, 4]])
CASES = [
    (am.everything(), am.Frame(8)),
    (am.everything(), am.Frame(3, 8)),
    (CAUSAL, am.Frame(8)),
    (CAUSAL, am.Frame(1, 8, align="end")),
    (CAUSAL, am.Frame(3, 8, align="end")),
    (CAUSAL, am.Frame(3, 8, q_start=2)),
    (am.window(2), am.Frame(8)),
    (am.window(2, 1), am.Frame(8)),
    (am.window(2, 3), am.Frame(3, 8, q_start=2)),
    (am.window(20, 20), am.Frame(8)),
    (CAUSAL & am.window(2), am.Frame(1, 8, q_start=4)),
    (am.window(None, 2), am.Frame(8)),
    (DOCUMENTS, am.Frame(8)),
    (DOCUMENTS & CAUSAL, am.Frame(8)),
    (DOCUMENTS & am.window(1, 1), am.Frame(8)),
    (BATCH_OF_DOCUMENTS & CAUSAL & am.window(2), am.Frame(8)),
    (am.chunked(3) & CAUSAL, am.Frame(8)),
    (am.padding([3, 8]), am.Frame(8)),
    (am.padding([0, 8]), am.Frame(8)),
    (am.padding([3, 5]), am.Frame(4, 8)),
    (am.padding([3, 4]) & am.padding([8, 2]), am.Frame(8)),
    (am.padding([3]), am.Frame(8)),
    (am.padding([3, 8]) & CAUSAL, am.Frame(8)),
    (am.padding([0, 5]) & CAUSAL, am.Frame(8)),
    (am.padding([8, 8]) & CAUSAL & am.window(2), am.Frame(8)),
    (am.padding([5, 2]) & CAUSAL & DOCUMENTS, am.Frame(8)),
    (am.padding([5, 2]) & am.window(None, 1) & BATCH_OF_DOCUMENTS, am.Frame(8)),
]
NAMES = [f"{mask} in {frame}" for mask, frame in CASES]


def shown(window, rows, keys):
    """What one sequence shows; FlashAttention takes a side as long as the keys for no limit."""
    left, right = (side if 0 <= side < keys else max(rows, keys) for side in window)
    at = np.arange(rows)[:, None] + keys - rows
    seen = np.arange(keys)
    return (seen >= at - left) & (seen <= at + right)


def pairs(calls, frame, batch):
    """All pairs that the calls show (batch, q_len, kv_len), and how often each row is written."""
    if isinstance(calls, Aligned):
        visible = np.zeros((batch, frame.q_len, frame.kv_len), bool)
        visible[:, :, : calls.keys] = shown(calls.window, frame.q_len, calls.keys)
        return visible, np.ones(batch * frame.q_len, int)
    whole = np.zeros((batch * frame.q_len, batch * frame.kv_len), bool)
    written = np.zeros(batch * frame.q_len, int)
    for call in calls:
        rows = np.arange(batch * frame.q_len) if call.queries is None else call.queries
        keys = np.arange(batch * frame.kv_len) if call.keys is None else call.keys
        assert call.cu_seqlens_q.dtype == call.cu_seqlens_k.dtype == np.int32
        assert (call.cu_seqlens_q[-1], call.cu_seqlens_k[-1]) == (len(rows), len(keys))
        assert call.max_seqlen_q == np.diff(call.cu_seqlens_q).max()
        assert call.max_seqlen_k == np.diff(call.cu_seqlens_k).max()
        edges = zip(call.cu_seqlens_q, call.cu_seqlens_q[1:], call.cu_seqlens_k, call.cu_seqlens_k[1:], strict=False)
        for first, stop, k_first, k_stop in edges:
            cells = np.ix_(rows[first:stop], keys[k_first:k_stop])
            whole[cells] = shown(call.window, stop - first, k_stop - k_first)
        written[rows] += 1
    by_batch = whole.reshape(batch, frame.q_len, batch, frame.kv_len)
    own = by_batch[np.arange(batch), :, np.arange(batch)]
    assert own.sum() == whole.sum(), "a batch sees another one"
    return own, written


@pytest.mark.parametrize(("mask", "frame"), CASES, ids=NAMES)
def test_exactly_the_pairs_of_the_mask(mask, frame):
    visible, written = pairs(flash_calls(mask, frame, 2), frame, 2)
    expected = np.broadcast_to(mask.dense(frame), (2, 1, frame.q_len, frame.kv_len))[:, 0]
    np.testing.assert_array_equal(visible, expected)
    assert written.max() == 1


@pytest.mark.parametrize(
    ("mask", "frame", "part"),
    [
        (am.sinks(2) | am.window(2), am.Frame(8), "sinks(2)"),
        (am.padding([3, 8], side="left", kv_len=8), am.Frame(8), "padding"),
        (am.padding([3, 8]) & CAUSAL & am.window(2), am.Frame(8), "where there is padding"),
        (am.q - am.k <= -1, am.Frame(8), "own position"),
        (CAUSAL & DOCUMENTS, am.Frame(2, 8, q_start=0), "whole sequences"),
        (am.padding([0, 0]), am.Frame(8), "nothing"),
        (am.documents([0, 1, 0, 1]), am.Frame(4), "contiguous"),
    ],
    ids=str,
)
def test_what_flash_attention_cannot_say_is_named(mask, frame, part):
    with pytest.raises(LoweringError) as caught:
        flash_calls(mask, frame, 2)
    assert part in str(caught.value)
