"""Simplification: every law is proved by z3, is needed, and changes no mask."""

import itertools

import numpy as np
import pytest
import z3
from hypothesis import given, settings
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.language import Apply, Const, Index, Rebuild, fold
from attnmask.define.normal import canonical as engine
from attnmask.define.normal.canonical import canonical, normal
from attnmask.define.normal.laws import LAWS, NUMBERS, law
from attnmask.define.normal.linear import size
from attnmask.define.normal.matching import candidates
from attnmask.define.proof.formulas import Formulas
from attnmask.errors import MaskError
from tests.strategies import frames, masks, terms

few = settings(max_examples=max(1, settings().max_examples * 2 // 5))
DIVISORS = ("n", "m")  # z3 cannot multiply unknowns: laws that divide are proved for the divisors 1 .. 6


class Pattern(Formulas):
    """A law as a formula: masks become truth values, terms and numbers integers, divisors the given ones."""

    def __init__(self, divisors):
        super().__init__(z3, any_tables=False)
        self.divisors = divisors

    def index(self, name):
        return z3.IntVal(self.divisors[name]) if name in self.divisors else super().index(name)

    def named(self, node, body):
        return z3.Bool(node.name)


def letters(node):
    if isinstance(node, Index):
        return {node.name}
    return set().union(*map(letters, node.args)) if isinstance(node, Apply) else set()


def letters_of(rule):
    return sorted(set().union(*map(letters, (rule.left, rule.right, rule.when))))


def holds_for_all_integers(rule):
    names = [name for name in letters_of(rule) if name in DIVISORS]
    for values in itertools.product(range(1, 7), repeat=len(names)):
        left, right, when = (
            fold(side, Pattern(dict(zip(names, values, strict=True)))) for side in (rule.left, rule.right, rule.when)
        )
        solver = z3.Solver()
        solver.add(when, left != right)
        if solver.check() != z3.unsat:
            return False
    return True


@pytest.mark.parametrize("rule", LAWS, ids=str)
def test_every_law_holds_for_all_integers(rule):
    assert holds_for_all_integers(rule)


def test_a_wrong_law_is_found():
    from attnmask.define.normal.laws import A, B, c, d, n, no, x

    assert not holds_for_all_integers(law(A & (A | B), B))
    assert not holds_for_all_integers(law((c <= x) & (x <= d), no, when=d <= c))
    assert not holds_for_all_integers(law(x % n <= c, no, when=c <= 0))


MASKS = {name: am.lookup([[True, False]] * rows, am.q, am.k).node for rows, name in enumerate("ABC", 2)}
TERMS = [(am.q, am.k), (am.q % 2, am.q % 2 + 1), (1 - am.q % 2, -(am.q % 2)), (am.q % 2 - 1, am.k)]


class Filled(Rebuild):
    def __init__(self, values):
        self.values = values

    def index(self, name):
        return self.values[name]

    def named(self, node, body):
        return self.values[node.name]


def instances(rule):
    """Left and right side with masks, terms and numbers put in, where ``when`` holds."""
    numbers = [name for name in letters_of(rule) if name in NUMBERS]
    choices = [(1, 2, 4) if name in DIVISORS else range(-2, 3) for name in numbers]
    for values, (x, y) in itertools.product(itertools.product(*choices), TERMS):
        given = dict(zip(numbers, map(Const, values), strict=True))
        filled = Filled({**MASKS, "x": x.node, "y": y.node, **given})
        if normal(fold(rule.when, filled)) == Const(True):
            yield fold(rule.left, filled), fold(rule.right, filled)


def times_applied(rule):
    """How many instances have one normal form on both sides."""
    return sum(normal(left) == normal(right) for left, right in instances(rule))


@pytest.mark.parametrize("rule", LAWS, ids=str)
def test_every_law_is_applied_and_needed(rule, monkeypatch):
    times_with_it = times_applied(rule)
    monkeypatch.setattr(engine, "candidates", lambda *args: [law for law in candidates(*args) if law is not rule])
    assert times_applied(rule) < times_with_it, "the other laws say the same"


@given(masks, frames())
def test_property_simplify_changes_no_position(mask, frame):
    expected, found = np.broadcast_arrays(mask.dense(frame), am.simplify(mask).dense(frame))
    assert np.array_equal(expected, found)


@given(masks, frames())
def test_property_canonical_changes_no_position(mask, frame):
    expected, found = np.broadcast_arrays(mask.dense(frame), canonical(mask).dense(frame))
    assert np.array_equal(expected, found)


@given(masks)
def test_property_simplify_never_lengthens_and_is_done_in_one_go(mask):
    short = am.simplify(mask)
    assert size(short.node) <= size(mask.node)
    assert am.simplify(short) == short
    assert repr(am.simplify(short)) == repr(short)


@given(masks)
def test_property_canonical_forms_stay_as_they_are(mask):
    assert canonical(canonical(mask)) == canonical(mask)
    assert canonical(am.simplify(mask)).depends_on <= mask.depends_on


@given(masks)
@few
def test_property_canonical_forms_are_proved_equal(mask):
    assert not isinstance(am.equivalent(mask, canonical(mask)), am.CounterExample)


@given(masks, masks, masks)
@few
def test_property_order_of_arguments_does_not_matter(one, two, three):
    assert canonical(one & two & three) == canonical(three & one & two)
    assert canonical(one | two | three) == canonical(three | one | two)


@given(terms(depth=3), terms(depth=3), st.sampled_from(["<=", "<", "same"]))
@few
def test_property_comparisons_are_equal_for_all_integers(one, two, op):
    mask = {"<=": lambda: one <= two, "<": lambda: one < two, "same": lambda: am.same(one, two)}[op]()
    assert not isinstance(am.equivalent(mask, am.simplify(mask)), am.CounterExample)
    assert not isinstance(am.equivalent(mask, canonical(mask)), am.CounterExample)


p = am.padding([3, 2])
q, k, b = am.q, am.k, am.b


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (am.causal(), "causal()"),
        (am.causal() & am.everything(), "causal()"),
        (am.causal() & am.window(3), "window(3)"),
        (am.window(3) & am.causal() & p, "window(3) & padding([3, 2])"),
        (am.window(5) & am.window(3, 2), "(k <= q) & (q - k <= 3)"),
        (am.window(3) | am.window(5), "window(5)"),
        (am.causal() | am.nothing(), "causal()"),
        ((k <= q) & am.causal(), "causal()"),
        (am.causal() - am.causal(), "nothing()"),
        (am.causal() | ~am.causal(), "everything()"),
        (~am.causal() & ~am.window(3), "~causal()"),
        (~(~am.causal() | ~p), "causal() & padding([3, 2])"),
        (~(am.causal() & p), "~(causal() & padding([3, 2]))"),
        (am.causal() & (am.window(3) | p), "causal() & (padding([3, 2]) | (q - k <= 3))"),
        (am.where(am.causal(), p, p), "padding([3, 2])"),
        (p | (p & am.causal()), "padding([3, 2])"),
        (am.chunked(4) & (k * 1 + 0 <= q), "chunked(4) & (k <= q)"),
        (~(k <= q), "q < k"),
        (~(k < q), "q <= k"),
        (~am.same(q, k), "~same(q, k)"),
        (am.same(q + 2, k + 2), "same(q, k)"),
        ((q <= 7) & (q <= 5), "q <= 5"),
        ((q <= 7) | (q <= 5), "q <= 7"),
        ((q <= 3) & (q > 3), "nothing()"),
        ((q <= 3) | (q > 2), "everything()"),
        ((q <= 3) | (q > 3), "everything()"),
        ((q <= 3) | (q > 4), "(q <= 3) | (4 < q)"),
        ((k <= q) & (q <= k), "same(q, k)"),
        (q - q + k < 3 + 2, "k < 5"),
        (q // 1 % 1 <= k, "0 <= k"),
        (am.same(q // 2 // 3, 1), "same(q // 6, 1)"),
        (am.minimum(q, am.minimum(q, k)) <= b, "minimum(q, k) <= b"),
        (am.where(am.causal(), 4, 4) <= k, "4 <= k"),
        (am.where(q < 3, 1, 0) <= 0, "3 <= q"),
        (abs(q - k) <= 2, "abs(q - k) <= 2"),
        (am.lookup([[5, 7]], 0, 1) <= k, "7 <= k"),
        (am.lookup([[5, 7]], 0, 2) <= k, "lookup([[5, 7]], 0, 2) <= k"),
        (am.lookup([5, 7], q + 0) + 0 < k, "lookup([5, 7], q + 0) < k"),
    ],
    ids=str,
)
def test_texts(mask, text):
    assert repr(am.simplify(mask)) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (am.window(3), am.causal() & (q - k <= 3)),
        (am.window(3), (k <= q) & (q < k + 4)),
        (am.window(0), am.same(k, q)),
        (am.window(2, 2), abs(k - q) <= 2),
        (am.chunked(4), am.same((q + 4) // 4, k // 4 + 1)),
        (am.causal().shift(q=3), k <= q + 3),
        (am.causal(), 3 * k <= 3 * q + 2),
        (am.nothing(), am.same(2 * q, 2 * k + 1)),
        (k < 6, k <= 5),
        (am.same(q % 2, 1), ~am.same(q % 2, 0)),
        (am.same((q + 3 * k - 1) % 3, 0), am.same((q + 2) % 3, 0)),
        (~(am.causal() & p), ~p | ~am.causal()),
        (abs(k - q - 3) <= b, abs(q - k + 3) <= b),
        (am.where(am.causal(), q, k) <= b, am.where(~am.causal(), k, q) <= b),
        (am.maximum(q, k) <= 5, (q <= 5) & (k <= 5)),
        (am.prefix([3, 2]) | am.causal(), am.where(am.prefix([3, 2]), am.everything(), am.causal())),
    ],
    ids=str,
)
def test_one_canonical_form(one, other):
    assert canonical(one) == canonical(other)
    assert hash(canonical(one)) == hash(canonical(other))


def test_what_fits_a_frame_still_does():
    """Another form of a position may have wider bounds, or name the batch."""
    remainder = am.lookup([4, 5], (q - k) % 3 - 1) + 0 < 5
    frame = am.Frame(1, 2, q_start=2)
    assert (
        am.simplify(remainder).dense(frame)[0, 0].tolist() == remainder.dense(frame)[0, 0].tolist() == [[False, True]]
    )
    assert am.simplify(remainder) != remainder
    batch = am.lookup([1, 2, 3], am.maximum(b, b)) + 0 <= k
    assert am.simplify(batch).dense(am.Frame(4, batch=2)).shape == (2, 1, 4, 4)


def test_a_large_union_is_simplified_in_time():
    mask = am.nothing()
    for position in range(100):
        mask = mask | am.same(k, position)
    assert repr(canonical(mask)) == "(0 <= k) & (k <= 99)" or size(canonical(mask).node) <= size(mask.node)


def test_only_masks_are_simplified():
    with pytest.raises(MaskError) as caught:
        am.simplify(am.causal().dense(3))
    assert caught.value.rule == "simplify takes a mask"
