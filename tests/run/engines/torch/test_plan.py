"""Plans compute every visible pair once and no hidden pair, and follow what is visible."""

import numpy as np
import pytest
from hypothesis import given, settings

import attnmask as am
from attnmask.run.costs import Costs
from attnmask.run.engines.torch.plan import plan
from tests.run.kinds import EXAMPLES, NAMES, forced, numbers, painted
from tests.strategies import frames, masks

CHEAP = Costs(call=0.0, copied=0.0)  # calls, so that blocks are small and in patches
DEAR = Costs(call=1e6)
USUAL = Costs(call=5_000.0)  # of eight heads


def assert_exact(found, mask, frame):
    np.testing.assert_array_equal(painted(found), mask.dense(frame), err_msg=f"{mask} in {frame}")
    assert found.computed == sum(block.size[0] * block.size[1] for block in found.blocks) >= mask.count(frame)
    for block in found.blocks:
        assert block.size == (len(numbers(block.rows)), len(numbers(block.keys)))
        seen = np.ones(block.size, bool) if block.hidden is None else ~block.hidden
        assert seen.any(1).all(), "rows that see nothing are in no block"
        assert seen.any(0).all(), "keys that no row sees are in no block"


@pytest.mark.parametrize(("mask", "frame"), EXAMPLES, ids=NAMES)
def test_every_kind(mask, frame):
    for found in (forced(mask, frame), plan(mask, frame, CHEAP), plan(mask, frame, DEAR)):
        assert_exact(found, mask, frame)


@settings(max_examples=80, deadline=None)
@given(masks, frames())
def test_random_masks(mask, frame):
    for found in (forced(mask, frame), plan(mask, frame, CHEAP)):
        assert_exact(found, mask, frame)


def test_no_block_sees_two_documents():
    found = plan(am.causal() & am.documents(lengths=[300, 100, 200]), am.Frame(600), USUAL)
    document = np.repeat([0, 1, 2], [300, 100, 200])
    for block in found.blocks:
        seen = {*document[numbers(block.rows)], *document[numbers(block.keys)]}
        assert len(seen) == 1
    assert found.computed < 1.6 * (am.causal() & am.documents(lengths=[300, 100, 200])).count(600)


def test_short_documents_share_blocks():
    assert len(plan(am.causal() & am.documents(lengths=[8] * 250), am.Frame(2000), USUAL).blocks) < 70


def test_dilated_windows_are_planned_class_by_class():
    mask = am.causal() & am.window(1023) & am.dilated(4)
    found = plan(mask, am.Frame(4096), USUAL)
    assert {block.rows.step for block in found.blocks} == {4}
    assert {block.keys.step for block in found.blocks} == {4}
    assert found.computed < 1.5 * mask.count(4096)


def test_sinks_are_gathered():
    mask = am.causal() & (am.sinks(4) | am.window(255))
    found = plan(mask, am.Frame(4096), USUAL)
    assert any(not isinstance(block.keys, slice) for block in found.blocks)
    assert found.computed < 1.6 * mask.count(4096)


def test_left_padding_skips_the_padded_rows():
    found = plan(am.causal() & am.padding([400, 100], side="left", kv_len=400), am.Frame(400), USUAL)
    assert min(numbers(block.rows)[0] for block in found.blocks if block.batch == 1) == 300
    assert min(numbers(block.keys)[0] for block in found.blocks if block.batch == 1) == 300


def test_dear_calls_make_large_blocks():
    mask = am.causal() & am.window(63)
    few, many = (len(plan(mask, am.Frame(4096), costs).blocks) for costs in (DEAR, CHEAP))
    assert few < many / 3


def test_what_is_computed_follows_what_is_visible():
    small, large = (plan(am.causal() & am.window(127), am.Frame(n), USUAL).computed for n in (4096, 8192))
    assert large < 2.1 * small


def test_plans_are_kept_by_structure():
    frame = am.Frame(640)
    first = plan(am.causal() & am.window(70), frame, USUAL)
    assert plan(am.causal() & am.window(70), am.Frame(640), USUAL) is first
    assert plan(am.causal() & am.window(71), frame, USUAL) is not first
