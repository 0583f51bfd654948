"""Ways through a function: every combination of answers once, and one value of all."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

import attnmask as am
from attnmask.define.language import Apply, Index
from attnmask.define.tracing.paths import explored, joined, opposite

NODES = [Apply("<=", (Index(name), Index("q"))) for name in "bhk"]


def test_each_way_is_taken_once_and_joined_by_its_conditions():
    ways = explored(lambda paths: tuple(paths.decide(node) for node in NODES))
    assert [result for _, result in ways] == list(itertools.product([True, False], repeat=3))
    tree = joined(ways, lambda condition, yes, no: (condition, yes, no))
    assert tree[0] == NODES[0]
    assert tree[1][2][1] == (True, False, True)


def test_a_question_is_asked_once_and_its_opposite_never():
    ways = explored(lambda paths: (paths.decide(NODES[0]), paths.decide(opposite(NODES[0])), paths.decide(NODES[0])))
    assert [result for _, result in ways] == [(True, False, True), (False, True, False)]


def test_the_opposite_of_the_opposite_is_the_condition():
    for node in (*NODES, Apply("==", NODES[0].args)):
        assert opposite(opposite(node)) == node


@settings(max_examples=settings.default.max_examples // 8)
@given(
    st.lists(st.tuples(st.sampled_from("bhqk"), st.sampled_from("bhqk"), st.integers(-2, 3)), min_size=1, max_size=4)
)
def test_property_python_conditions_are_masks(conditions):
    """``if``s over random conditions against the same with & | ~, at a batch and heads of two."""

    def python(b, h, q, k):
        at, answer = {"b": b, "h": h, "q": q, "k": k}, False
        for x, y, distance in conditions:
            if at[x] - at[y] < distance and not answer:
                answer = at[x] != at[y] or q >= k
        return answer

    def operators(b, h, q, k):
        at, answer = {"b": b, "h": h, "q": q, "k": k}, (q < q)
        for x, y, distance in conditions:
            asked = (at[x] - at[y] < distance) & ~answer
            answer = (asked & ((at[x] != at[y]) | (q >= k))) | (~asked & answer)
        return answer

    size = am.Frame(4, 3, q_start=0, batch=2, heads=2)
    assert (am.trace(python).dense(size) == am.trace(operators).dense(size)).all()
