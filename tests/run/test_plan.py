"""Plans compute every visible pair once and no hidden pair, and are large calls where the mask allows them."""

import numpy as np
import pytest
from hypothesis import given, settings

import attnmask as am
from attnmask.run.engines.torch.plan import choice, plan
from tests.run.small_pieces import EXAMPLES, NAMES, forced, painted, rows_of
from tests.strategies import frames, masks


def assert_exact(found, mask, frame):
    np.testing.assert_array_equal(painted(found), mask.dense(frame), err_msg=f"{mask} in {frame}")
    assert found.visible == mask.count(frame) == sum(piece.visible for piece in found.pieces)
    assert found.computed == sum(piece.pairs for piece in found.pieces) >= found.visible


def assert_layers(found):
    """A later piece merges into rows that are there already, and first pieces do not overwrite each other."""
    first = np.zeros(found.frame.shape[:3], int)
    order = [piece.layer for piece in found.pieces]
    assert order == sorted(order)
    for piece in found.pieces:
        for tile in range(piece.tiles):
            at = (piece.batch or 0, piece.head or 0, rows_of(piece, tile))
            if piece.layer == 0:
                first[at] += 1
            else:
                assert (first[at] == 1).all()
    assert first.max() <= 1


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind(mask, frame):
    for found in (forced(mask, frame), plan(mask, frame)):
        assert_exact(found, mask, frame)
        assert_layers(found)


@settings(max_examples=80, deadline=None)
@given(masks, frames())
def test_random_masks(mask, frame):
    found = forced(mask, frame)
    assert_exact(found, mask, frame)
    assert_layers(found)


def shapes(mask, frame):
    return [(piece.tiles, piece.rows, piece.keys, piece.causal) for piece in plan(mask, am.Frame.of(frame)).pieces]


def test_masks_that_a_kernel_knows_are_one_call():
    assert shapes(am.everything(), 300) == [(1, 300, 300, False)]
    assert shapes(am.causal(), 3000) == [(1, 3000, 3000, True)]
    assert shapes(am.padding(200), 300) == [(1, 300, 200, False)]
    assert shapes(am.causal() & am.window(99), am.Frame(1, 300, align="end")) == [(1, 1, 100, False)]
    assert shapes(am.causal(), am.Frame(1, 300, align="end")) == [(1, 1, 300, False)]
    assert all(plan(mask, am.Frame(3000)).single for mask in (am.everything(), am.causal(), am.padding(200)))
    assert plan(am.causal() & am.window(9), am.Frame(300)).single is None


def test_no_block_sees_two_documents():
    found = plan(am.causal() & am.documents(lengths=[300, 100, 200]), am.Frame(600))
    document = np.repeat([0, 1, 2], [300, 100, 200])
    for piece in found.pieces:
        for tile in range(piece.tiles):
            rows = document[rows_of(piece, tile)]
            first = piece.k_start + tile * piece.k_step
            assert {*rows, document[first], document[first + piece.keys - 1]} == {rows[0]}
    assert found.computed < 1.6 * found.visible


def test_short_documents_share_blocks():
    found = plan(am.causal() & am.documents(lengths=[8] * 250), am.Frame(2000))
    assert found.calls < 70


def test_long_prefill_against_a_cache_computes_most_keys_without_a_mask():
    found = plan(am.causal(), am.Frame(200, 8000, align="end"))
    bare = sum(piece.pairs for piece in found.pieces if piece.hidden is None)
    assert bare > 0.9 * found.computed
    assert max(piece.layer for piece in found.pieces) == 1


def test_dilated_windows_are_planned_class_by_class():
    found = plan(am.causal() & am.window(1023) & am.dilated(4), am.Frame(4096))
    assert {piece.spacing for piece in found.pieces} == {4}
    assert found.computed < 1.5 * found.visible


def test_sinks_are_a_part_of_their_own():
    found = plan(am.causal() & (am.sinks(4) | am.window(1023)), am.Frame(4096))
    assert any(piece.keys == 4 and piece.hidden is None and piece.tiles > 1 for piece in found.pieces)
    assert found.computed < 1.5 * found.visible


def test_left_padding_skips_the_padded_rows():
    found = plan(am.causal() & am.padding([400, 100], side="left", kv_len=400), am.Frame(400))
    assert min(piece.q_start for piece in found.pieces if piece.batch == 1) == 300
    assert min(piece.k_start for piece in found.pieces if piece.batch == 1) == 300


def test_a_window_is_few_batched_bands():
    found = plan(am.causal() & am.window(63), am.Frame(4096))
    assert len(found.pieces) <= 12
    assert max(piece.tiles for piece in found.pieces) >= 16
    assert found.computed < 2.5 * found.visible


def test_what_is_computed_follows_what_is_visible():
    small, large = (plan(am.causal() & am.window(127), am.Frame(n)).computed for n in (4096, 8192))
    assert large < 2.1 * small


def test_plans_are_kept_by_structure():
    frame = am.Frame(640)
    first = plan(am.causal() & am.window(70), frame)
    assert plan(am.causal() & am.window(70), am.Frame(640)) is first
    assert plan(am.causal() & am.window(71), frame) is not first
    assert plan(am.causal() & am.window(70), am.Frame(641)) is not first


def test_short_frames_take_one_masked_call():
    assert choice(am.causal() & am.window(5), am.Frame(64), 1, 8) is None
    assert choice(am.causal() & am.window(100), am.Frame(2048), 1, 8) is not None
