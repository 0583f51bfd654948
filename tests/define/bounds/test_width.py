"""Numbers that no engine computes are refused, whatever makes them."""

import numpy as np
import pytest
from hypothesis import given

import attnmask as am
from attnmask.define.bounds.width import too_wide
from attnmask.define.fit import fit
from attnmask.errors import FrameError, MaskError
from tests.strategies import frames, masks

q, k = am.q, am.k


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (am.window(2**63), "9223372036854775808 in window(9223372036854775808)"),
        (k * 2**40 * 2**40 < q, "k * 1099511627776 * 1099511627776 from 0 to"),
        (am.lookup([2**61, 0, 0, 0, 0, 0], q) * 4 <= k, "* 4 from 0 to"),
        (am.lookup([[1] * 6], 0, q) + 2**62 < k, "+ 4611686018427387904 from"),
        (abs(k - 2**64) < q, "18446744073709551616"),
        (am.where(k < q, 2**70, 0) < q, "1180591620717411303424"),
    ],
    ids=str,
)
def test_numbers_beyond_62_bits_are_refused(mask, text):
    for see in (mask.dense, mask.count, lambda frame: am.lower(mask, frame, "tiles")):
        with pytest.raises(FrameError) as caught:
            see(am.Frame(3, 6, q_start=2))
        assert caught.value.rule == "the numbers of a mask stay within 62 bits, so that every engine computes them"
        assert text in caught.value.got


@pytest.mark.parametrize("ids", [[0, 2**63], np.array([0, 2**63], np.uint64), [-(2**63) - 1]], ids=str)
def test_entries_beyond_64_bits_are_refused(ids):
    with pytest.raises(MaskError, match="the entries of a table have 64 bits"):
        am.documents(ids)


def test_large_numbers_that_fit_are_exact():
    ids = am.documents([2**62, 2**62, 2**62 - 1])
    assert ids.dense(3)[0, 0].astype(int).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    far = am.causal() & (k * k * 2**30 <= q * q * 2**30)
    frame = am.Frame(1, 50_000, align="end")
    assert far.count(frame) == 50_000


def test_entries_of_large_tables_count_where_sums_are_made_of_them():
    ids = np.zeros(1 << 17, np.int64)
    ids[-1] = 2**61
    assert too_wide((am.lookup(ids, q) <= k).node, {"q": (0, 5), "k": (0, 5)}, 62) is None
    assert too_wide((am.lookup(ids, q) * 3 <= k).node, {"q": (0, 5), "k": (0, 5)}, 62).high == 3 * 2**61
    assert too_wide((am.lookup(ids, q) <= k).node, {"q": (0, 5), "k": (0, 5)}, 31).high == 2**61


@given(masks, frames())
def test_property_small_masks_fit(mask, frame):
    assert too_wide(mask.node, fit(mask, frame).ranges, 31) is None
