"""Flow through stacks of layers, against boolean matrix products."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import attnmask as am
from attnmask.errors import FrameError, InputError
from tests.strategies import masks

LENGTH = 8


def closure(stack, length):
    """reach[q, k] by boolean matrix products."""
    reach = np.eye(length, dtype=bool)
    for mask in stack:
        reach = (np.eye(length, dtype=bool) | mask.dense(length)[0, 0]) @ reach
    return reach


@given(st.lists(masks.filter(lambda mask: "b" not in mask.depends_on), min_size=1, max_size=4))
def test_property_flow_is_the_boolean_product(stack):
    found, expected = am.flow(stack, LENGTH), closure(stack, LENGTH)
    for q in range(LENGTH):
        assert found.sources(q) == np.flatnonzero(expected[q]).tolist()
        assert found.targets(q) == np.flatnonzero(expected[:, q]).tolist()
        for k in range(q % 3, LENGTH, 3):  # every key for some query; all pairs would take long and show no more
            assert found.reaches(q, k) == expected[q, k]
            path = found.path(q, k)
            assert (path is not None) == expected[q, k]
            if path is not None:
                follow(path, [mask.dense(LENGTH)[0, 0] for mask in stack], q, k)


def follow(path, stack, q, k):
    """A path starts at k, ends at q, and every hop is visible in its layer or the residual connection."""
    assert path[0].position == k
    assert path[-1].position == q
    for before, hop, visible_in in zip(path, path[1:], stack, strict=False):
        visible = visible_in[hop.position, before.position]
        assert visible if hop.attends else hop.position == before.position


def test_the_receptive_field_of_windows_grows_with_the_layers():
    assert am.flow([am.window(3)], 100).receptive_field(50) == (47, 50)
    assert am.flow([am.window(3)] * 4, 100).receptive_field(50) == (38, 50)
    assert am.flow([am.window(3), am.causal()], 100).receptive_field(50) == (0, 50)


def test_preorders_are_their_own_closure():
    for mask in (am.causal(), am.documents([0, 0, 1, 1, 2, 2, 2, 2]), am.causal() & am.documents([0] * 3 + [1] * 5)):
        assert np.array_equal(closure([mask] * 3, 8), mask.dense(8)[0, 0] | np.eye(8, dtype=bool))
        assert [am.flow([mask] * 3, 8).sources(q) for q in range(8)] == [
            am.flow([mask], 8).sources(q) for q in range(8)
        ]


def test_a_leaking_layer_shows_in_the_flow():
    stack = am.flow([am.causal(), am.window(None, 1), am.causal()], 6)
    assert stack.sources(2) == [0, 1, 2, 3]
    assert [hop.attends for hop in stack.path(2, 3)] == [False, False, True, False]


def test_long_stacks_need_no_square_array():
    import tracemalloc

    tracemalloc.start()
    stack = am.flow([am.window(100)] * 12, 200_000)
    assert stack.receptive_field(150_000) == (150_000 - 1200, 150_000)
    assert tracemalloc.get_traced_memory()[1] < 300e6
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: am.flow([am.causal()], am.Frame(2, 4, align="end")), FrameError),
        (lambda: am.flow([], 4), InputError),
        (lambda: am.flow([am.padding([1, 2])], 4), InputError),
        (lambda: am.flow([am.causal()], 4).sources(4), InputError),
        (lambda: am.flow([am.causal()], 4).path(0, -1), InputError),
    ],
)
def test_refusals(build, error):
    with pytest.raises(error):
        build()
