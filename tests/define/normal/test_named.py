"""Masks in the words of the library, however they were spelt; and what they are within one frame."""

import sys

import numpy as np
import pytest
from hypothesis import given

import attnmask as am
from attnmask.define.fit import fit
from attnmask.define.kind import kinds
from attnmask.define.normal import named as module
from attnmask.define.normal.framed import plain
from attnmask.define.normal.named import named
from attnmask.errors import FrameError
from tests.strategies import frames, masks

b, h, q, k = am.b, am.h, am.q, am.k
IDS = [0, 0, 1, 1, 1, 2]
TREE = am.tree([-1, 0, 0, 1])
BLOCKS = [[True, False], [True, True]]


def unnamed(mask):
    return am.Mask(mask.plain)


SPELLINGS = {  # the kind that each needs, what is given, and its text
    "causal": [(k < q + 1, "causal()"), (~(q < k), "causal()"), (q - k >= 0, "causal()"), (k > q, "~causal()")],
    "window": [
        (am.trace(lambda b, h, q, k: (k <= q) & (q - k < 4)), "window(3)"),
        (abs(q - k) < 4, "window(3, 3)"),
        (k - q <= 2, "window(None, 2)"),
        ((q - k) * (q - k) < 9, "window(2, 2)"),
        (2 * (q - k) * (q - k) <= 20, "window(3, 3)"),
        (~((k - q) * (k - q) > 4) & ((q - k) * (q - k) >= 0), "window(2, 2)"),
        (am.same((q - k) * (q - k), 0), "window(0)"),
        (2 * q - 2 * k <= 7, "window(3, None)"),
        (am.window(5) & am.window(3, 2), "window(3)"),
    ],
    "chunked": [
        (~(q // 4 < k // 4) & ~(k // 4 < q // 4), "chunked(4)"),
        ((k <= q) | am.same(k // 8, q // 8), "causal() | chunked(8)"),
        ((k <= q) & ~am.same(k // 8, q // 8), "causal() & ~chunked(8)"),
    ],
    "dilated": [(am.same((k - q) % 3, 0) & (k <= q), "causal() & dilated(3)")],
    "strided": [((k <= q) & ((q - k < 3) | am.same(k % 3, q % 3)), "strided(3)")],
    "sinks": [
        ((k <= q) & ((k < 4) | (q - k <= 7)), "causal() & (sinks(4) | window(7))"),
        (k <= 3, "sinks(4)"),
    ],
    "prefix": [
        ((k < 5) | (k <= q), "prefix(5) | causal()"),
        ((k < am.lookup([3, 4], b)) | (k <= q), "prefix([3, 4]) | causal()"),
    ],
    "padding": [
        ((k <= q) & (k + 1 <= am.lookup([3, 4], b)), "causal() & padding([3, 4])"),
        (am.lookup([3, 5], b) + k >= 5, "padding([3, 5], side='left', kv_len=5)"),
        (~~am.lookup([[True, False]] * 2, b, k), "padding(valid=[[True, False], [True, False]])"),
        (am.same(am.lookup([[1, 0]], b, k), 1) & (k <= q), "causal() & padding(valid=[[True, False]])"),
        (~am.same(am.lookup([2, 0, 1], k), 0), "padding(valid=[True, False, True])"),
        (~am.lookup([[False, True]], b, k), "padding(valid=[[True, False]])"),
    ],
    "documents": [
        ((am.lookup(IDS, q) <= am.lookup(IDS, k)) & (am.lookup(IDS, k) <= am.lookup(IDS, q)), f"documents({IDS})"),
        (am.same(am.lookup([[IDS], [IDS]], 1, 0, k), am.lookup([IDS, IDS], 0, q)), f"documents({IDS})"),
        (am.same(am.lookup([IDS, IDS], b, k) - am.lookup([IDS, IDS], b, q), 0), f"documents({[IDS, IDS]})"),
    ],
    "images": [((k <= q) | unnamed(am.images([-1, 0, 0, -1])), "causal() | images([-1, 0, 0, -1])")],
    "table": [(unnamed(am.table(BLOCKS)), f"table({BLOCKS})")],
    "graph": [(unnamed(am.graph([[0, 1], [2, 0]], 3)), "graph([[0, 1], [2, 0]], 3)")],
    "blocks": [(am.lookup(BLOCKS, q // 4, k // 2), f"blocks({BLOCKS}, [4, 2])")],
    "tree": [(unnamed(TREE), repr(TREE))],
    "axial": [(unnamed(am.axial([2, 4], 0)), "axial([2, 4], 0)")],
    "grid": [(unnamed(am.grid([6, 8], 3)), "grid([6, 8], 3)")],
}
CASES = [pytest.param(kind, mask, text, id=text) for kind, cases in SPELLINGS.items() for mask, text in cases]


@pytest.mark.parametrize(("kind", "mask", "text"), CASES)
def test_spellings_get_their_names(kind, mask, text):
    assert repr(named(mask)) == text


@pytest.mark.parametrize("kind", SPELLINGS)
def test_each_kind_needs_its_own_guesses(kind, monkeypatch):
    module._named.cache_clear()
    if kind == "causal":
        monkeypatch.setattr(module, "causal", am.nothing)
    monkeypatch.setattr(sys.modules[kinds()[kind].__module__], "guesses", lambda found: iter(()))
    assert any(repr(named(mask)) != text for mask, text in SPELLINGS[kind])
    module._named.cache_clear()


def test_kinds_that_guess_are_those_that_are_tested():
    guessing = {name for name, build in kinds().items() if hasattr(sys.modules[build.__module__], "guesses")}
    assert guessing == set(SPELLINGS)


@pytest.mark.parametrize(
    "mask",
    [
        am.causal() | am.sinks(2),
        am.padding([3, 2]) & am.grid([3, 3], 3),
        am.window(2).shift(q=4),
        am.random_blocks(12, 3, 2),
        am.block_diffusion(6, 2),
        am.media([1, 3], 2),
        am.sliding_tiles([4, 6], 2, 2),
        am.padding(4),
    ],
    ids=str,
)
def test_names_that_a_mask_has_stay(mask):
    assert repr(named(mask)) == repr(mask)


@given(masks, frames())
def test_property_names_change_no_position(mask, frame):
    found = named(mask)
    assert am.parse(repr(found)) == found
    fit(mask, frame)
    try:
        seen = found.dense(frame)
    except FrameError:  # another form of a position may no longer be seen to stay inside its table
        return
    assert np.array_equal(*np.broadcast_arrays(seen, mask.dense(frame)))


@pytest.mark.parametrize(
    ("mask", "frame", "expected"),
    [
        (am.causal(), am.Frame(8), "causal"),
        (am.causal(), am.Frame(3, 8, align="start"), "causal"),
        (am.causal(), am.Frame(3, 8, align="end"), "other"),
        (am.causal(), am.Frame(1, 8, align="end"), "everything"),
        (am.causal().shift(q=-5), am.Frame(3, 8, align="end"), "causal"),
        (am.window(7), am.Frame(8), "causal"),
        (am.window(6), am.Frame(8), "other"),
        (am.window(7, 7), am.Frame(8), "everything"),
        (am.window(7, 6), am.Frame(8), "other"),
        (am.chunked(8), am.Frame(8), "everything"),
        (am.chunked(8), am.Frame(1, 9, align="end"), "other"),
        (am.causal() & am.sinks(8), am.Frame(8), "causal"),
        (q < 1, am.Frame(1, 8, q_start=0), "everything"),
    ],
    ids=str,
)
def test_what_a_mask_is_within_a_frame(mask, frame, expected):
    assert plain(mask, fit(mask, frame)) == expected
    dense = mask.dense(frame)
    assert (expected == "everything") == dense.all()
    assert expected == "other" or np.array_equal(dense[0, 0], np.tri(*dense.shape[2:], dtype=bool) | dense.all())
