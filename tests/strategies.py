"""Hypothesis strategies for masks and frames; every new kind of mask joins ``masks``."""

from hypothesis import strategies as st

import attnmask as am

BATCH = 2
REACH = 9  # positions -REACH .. REACH occur in the frames

small = st.integers(0, 6)
lengths = st.lists(st.integers(0, 4), min_size=BATCH, max_size=BATCH)
ids = st.lists(st.integers(0, 2), min_size=REACH, max_size=REACH)


@st.composite
def frames(draw):
    """Frames of any shape, square or not, whose queries and keys stay within the tables of ``masks``."""
    kv_len = draw(st.integers(4, REACH))
    q_len = draw(st.integers(1, REACH))
    q_start = draw(st.integers(0, REACH - q_len))
    return am.Frame(q_len, kv_len, q_start=q_start, batch=BATCH)


@st.composite
def terms(draw, depth=2):
    """Integer expressions over q, k and b."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from([am.q, am.k, am.b, am.q - am.k])) + draw(st.integers(-3, 3))
    one, other = draw(terms(depth - 1)), draw(terms(depth - 1))
    choice = draw(st.integers(0, 7))
    return {
        0: lambda: one + other,
        1: lambda: one - other,
        2: lambda: one * draw(st.integers(-2, 2)),
        3: lambda: one // draw(st.integers(1, 4)),
        4: lambda: one % draw(st.integers(1, 4)),
        5: lambda: abs(one),
        6: lambda: am.minimum(one, other),
        7: lambda: am.maximum(one, other),
    }[choice]()


kinds = st.one_of(
    st.just(am.everything()),
    st.just(am.nothing()),
    st.just(am.causal()),
    st.builds(am.window, small, small),
    st.builds(am.chunked, st.integers(1, 5)),
    st.builds(am.padding, lengths),
    st.builds(lambda values: am.padding(values, side="left", kv_len=REACH), lengths),
    st.builds(am.prefix, lengths),
    st.builds(am.documents, ids),
    st.builds(lambda one, other: am.documents([one, other]), ids, ids),
    st.builds(am.same, terms(), terms()),
    st.builds(lambda one, other: one <= other, terms(), terms()),
    st.builds(lambda one, other: one < other, terms(), terms()),
)

masks = st.recursive(
    kinds,
    lambda inner: st.one_of(
        st.builds(lambda one, other: one & other, inner, inner),
        st.builds(lambda one, other: one | other, inner, inner),
        st.builds(lambda one, other: one - other, inner, inner),
        st.builds(lambda one: ~one, inner),
        st.builds(am.where, inner, inner, inner),
    ),
    max_leaves=6,
)
