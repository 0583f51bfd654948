"""The bias classes of xFormers as attnmask expressions: alignment, blocks of different lengths, padded and gappy keys."""

import platform
import sys

import numpy as np
import pytest

import attnmask as am

if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.skip("xFormers has wheels for Linux on x86-64 only", allow_module_level=True)

from xformers.ops.fmha import attn_bias as xf

Q, KV = [2, 3, 1], [4, 3, 5]  # queries and keys per block
PADDED = 6


def materialized(bias, shape):
    return (bias.materialize(shape) == 0).numpy()


def spread(values, lengths):
    """The value of each block at each of its positions."""
    return np.repeat(values, lengths)


def starts(lengths):
    return np.cumsum([0, *lengths[:-1]])


SHAPES = [(4, 4), (2, 6), (5, 5)]
ALIGNED = {
    "causal": (lambda: xf.LowerTriangularMask(), am.causal(), "start"),
    "causal from the end": (lambda: xf.LowerTriangularFromBottomRightMask(), am.causal(), "end"),
    "window 3 from the end": (
        lambda: xf.LowerTriangularFromBottomRightLocalAttentionMask(_window_size=3),
        am.window(2),
        "end",
    ),
    "local": (lambda: xf.LocalAttentionFromBottomRightMask(window_left=2, window_right=1), am.window(2, 1), "end"),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ALIGNED)
def test_single_sequences(name, shape):
    make, ours, align = ALIGNED[name]
    assert np.array_equal(ours.dense(am.Frame(*shape, align=align))[0, 0], materialized(make(), shape))


@pytest.mark.parametrize("w", [1, 2, 5])
def test_windows_of_w_keys(w):
    """Its window_size counts the query's own key, its window_left does not."""
    size = xf.LowerTriangularFromBottomRightLocalAttentionMask(_window_size=w)
    left = xf.LocalAttentionFromBottomRightMask(window_left=w - 1, window_right=0)
    for bias in (size, left):
        assert np.array_equal(am.window(w - 1).dense(8)[0, 0], materialized(bias, (8, 8)))


def test_blocks_of_one_length_are_documents():
    block = xf.BlockDiagonalMask.from_seqlens(KV)
    documents = am.documents(lengths=KV)
    for bias, ours in [
        (block, documents),
        (block.make_causal(), am.causal() & documents),
        (block.make_causal().make_local_attention(3), am.window(2) & documents),
    ]:
        assert np.array_equal(ours.dense(12)[0, 0], materialized(bias, (12, 12)))


# Where queries and keys of a block differ in number, each has a place of its own in the block.
SAME_BLOCK = am.same(am.lookup(spread(range(3), Q), am.q), am.lookup(spread(range(3), KV), am.k))
QUERY = am.q - am.lookup(spread(starts(Q), Q), am.q)
KEY = am.k - am.lookup(spread(starts(KV), KV), am.k)
MISSING = am.lookup(spread(np.subtract(KV, Q), Q), am.q)


@pytest.mark.parametrize(
    ("change", "ours"),
    [
        (lambda block: block, SAME_BLOCK),
        (lambda block: block.make_causal(), SAME_BLOCK & (KEY <= QUERY)),
        (lambda block: block.make_causal_from_bottomright(), SAME_BLOCK & (KEY <= QUERY + MISSING)),
        (
            lambda block: block.make_local_attention_from_bottomright(2),
            SAME_BLOCK & (KEY <= QUERY + MISSING) & (QUERY + MISSING - KEY < 2),
        ),
    ],
    ids=["full", "causal", "causal from the end", "window from the end"],
)
def test_blocks_of_two_lengths(change, ours):
    bias = change(xf.BlockDiagonalMask.from_seqlens(Q, KV))
    frame = am.Frame(sum(Q), sum(KV), q_start=0)
    assert np.array_equal(ours.dense(frame)[0, 0], materialized(bias, (sum(Q), sum(KV))))


def test_causal_in_the_document_and_in_the_sequence_differ():
    """Both can be said: they differ as soon as a block has more keys than queries."""
    frame = am.Frame(sum(Q), sum(KV), q_start=0)
    assert not np.array_equal((SAME_BLOCK & am.causal()).dense(frame), (SAME_BLOCK & (KEY <= QUERY)).dense(frame))


def test_padded_keys():
    """Each block's keys stand in PADDED places of which the first KV are filled."""
    block = xf.BlockDiagonalPaddedKeysMask.from_seqlens(Q, PADDED, KV)
    causal = xf.BlockDiagonalCausalWithOffsetPaddedKeysMask.from_seqlens(Q, PADDED, KV)
    length = am.lookup(spread(KV, Q), am.q)
    own = am.same(am.lookup(spread(range(3), Q), am.q), am.k // PADDED) & (am.k % PADDED < length)
    frame = am.Frame(sum(Q), 3 * PADDED, q_start=0)
    assert np.array_equal(own.dense(frame)[0, 0], materialized(block, (sum(Q), 3 * PADDED)))
    last = own & (am.k % PADDED <= QUERY + MISSING)
    assert np.array_equal(last.dense(frame)[0, 0], materialized(causal, (sum(Q), 3 * PADDED)))


def test_gappy_keys():
    """Each block's keys begin anywhere: the part from starts[i] to starts[i] + KV[i]."""
    begins = [0, 5, 9, 15]
    bias = xf.BlockDiagonalGappyKeysMask.from_seqlens(Q, begins, KV)
    first, last = spread(begins[:3], Q), spread(np.add(begins[:3], KV), Q)
    ours = (am.k >= am.lookup(first, am.q)) & (am.k < am.lookup(last, am.q))
    assert np.array_equal(ours.dense(am.Frame(sum(Q), 15, q_start=0))[0, 0], materialized(bias, (sum(Q), 15)))
