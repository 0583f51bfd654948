"""Selections as plain data: how they join, print, compare, and what they refuse."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.errors import MaskError
from tests.strategies import kinds

RULES = {"top_k": am.top_k(3), "top_k_blocks": am.top_k_blocks(2, 4), "threshold": am.threshold(-0.5)}
selections = st.sampled_from(list(RULES.values()))


@given(kinds, kinds, selections, selections)
def test_property_joining(one, other, first, second):
    """``&`` is associative, with masks on either side; what is selected from is the ``&`` of all masks."""
    joined = one & first & other & second
    assert joined == one & (first & other) & second == (one & first) & (other & second)
    assert hash(joined) == hash(one & first & (other & second))
    assert joined.mask in (one & other, one, other)  # everything() is left out
    assert joined.rules == tuple(dict.fromkeys(first.rules + second.rules))
    assert first & one == one & first


@given(kinds, selections, selections)
def test_property_repr_reads_as_the_code(mask, first, second):
    names = {name: getattr(am, name) for name in dir(am)}
    names["packed"] = am.parse
    for selection in (first, mask & first, mask & first & second, ~mask & first, (mask | am.causal()) & second):
        if "packed" not in repr(selection):
            assert eval(repr(selection), names) == selection


def test_repr():
    assert repr(am.causal() & am.top_k_blocks(4, 64)) == "causal() & top_k_blocks(4, 64)"
    assert repr((am.causal() | am.prefix([2])) & am.top_k(3)) == "(causal() | prefix([2])) & top_k(3)"
    assert repr(am.threshold(1)) == "threshold(1.0)"
    assert repr((am.k <= am.q) & am.top_k(3)) == "(k <= q) & top_k(3)"


def test_plain_data():
    selection = am.causal() & am.padding([3]) & am.top_k(2)
    assert pickle.loads(pickle.dumps(selection)) == selection
    assert selection != am.causal() & am.top_k(2)
    assert selection != am.causal() & am.padding([3]) & am.top_k(3)
    assert am.top_k(2) != am.top_k_blocks(2, 1)
    with pytest.raises(AttributeError):
        selection.mask = am.causal()
    assert not hasattr(selection, "dense")
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        selection.colour  # noqa: B018


def refused(text, function):
    with pytest.raises(MaskError) as caught:
        function()
    assert str(caught.value) == text


ONLY_AND = "a selection only takes away, so it combines with & alone; got"


def test_refusals_of_operators():
    mask, selection = am.causal(), am.window(2) & am.top_k(3)
    join = "Join the masks first: (a | b) & top_k(3)."
    refused(f"{ONLY_AND} window(2) & top_k(3) | causal(). {join}", lambda: selection | mask)
    refused(f"{ONLY_AND} causal() | window(2) & top_k(3). {join}", lambda: mask | selection)
    refused(
        f"{ONLY_AND} ~(window(2) & top_k(3)). Turn the mask around, not the selection: ~mask & top_k(3).",
        lambda: ~selection,
    )
    refused(
        f"{ONLY_AND} (window(2) & top_k(3)) - causal(). Write window(2) & top_k(3) & ~other.", lambda: selection - mask
    )
    refused(
        f"{ONLY_AND} causal() - (window(2) & top_k(3)). Select among what shall stay: mask & top_k(3).",
        lambda: mask - selection,
    )
    refused(
        "a selection has no truth value; got bool(window(2) & top_k(3)). Combine it with &, not with and.",
        lambda: selection and mask,
    )
    fix = "Write am.table(array) for a boolean array, am.trace(f) for a function of positions."
    refused(
        f"a selection combines with masks and selections; got (top_k(3)) & list '[True]'. {fix}",
        lambda: am.top_k(3) & [True],
    )
    refused(f"a selection combines with masks and selections; got (top_k(3)) & int '1'. {fix}", lambda: 1 & am.top_k(3))


@pytest.mark.parametrize(
    "use",
    [
        lambda mask: mask.dense(4),
        lambda mask: mask.count(4),
        lambda mask: mask.density(4),
        lambda mask: mask.empty_rows(4),
        lambda mask: mask.shift(q=1),
        lambda mask: mask.within([0, 0, 1]),
        lambda mask: mask.to_json(),
        lambda mask: mask.depends_on,
        lambda mask: am.lower(mask, 4, "tiles"),
        lambda mask: am.show(mask, 4),
        lambda mask: am.why(mask, q=1, k=1),
        lambda mask: am.flow([mask, mask], 4),
        lambda mask: am.export(mask, "torch.sdpa", 4),
        lambda mask: am.simplify(mask),
        lambda mask: am.implies(mask, am.causal()),
        lambda mask: am.implies(am.causal(), mask),
        lambda mask: am.recognize(mask),
        lambda mask: am.explain("Hello there", mask=mask),
        lambda mask: am.check(lambda x: x, np.ones((1, 3, 2)), allowed=mask),
    ],
)
def test_what_needs_positions_alone_says_so(use):
    with pytest.raises(MaskError) as caught:
        use(am.causal() & am.top_k(2))
    assert caught.value.rule == "a selection is decided from q and k, so no position alone says what is visible"
    assert "causal() & top_k(2)" in caught.value.got
    assert caught.value.fix.startswith("Write am.attention(q, k, v, selection)")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: am.top_k(0), "a query takes at least 1 key; got k=0. Write top_k(32)."),
        (lambda: am.top_k(2.0), "a query takes at least 1 key; got k=2.0. Write top_k(32)."),
        (
            lambda: am.top_k_blocks(4, 0),
            "a query takes at least 1 block of at least 1 key; got size=0. "
            "Write top_k_blocks(16, 64) for 16 blocks of 64 keys.",
        ),
        (
            lambda: am.threshold(float("nan")),
            "a threshold is a finite number; got nan. Write threshold(0.0), or no threshold.",
        ),
        (
            lambda: am.threshold(True),
            "a threshold is a finite number; got True. Write threshold(0.0), or no threshold.",
        ),
    ],
)
def test_refusals_of_numbers(make, text):
    refused(text, make)
