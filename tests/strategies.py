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


edges = st.sampled_from(["shift", "clip"])


def patterns(rows, columns):
    """Booleans (rows, columns)."""
    return st.lists(st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=rows, max_size=rows)


def parents(nodes):
    """The parents of a forest; those of later nodes come before them."""
    return st.tuples(*(st.integers(-1, node - 1) for node in range(nodes))).map(list)


def relative():
    """Kinds that may be asked about positions of any document, and of other coordinates."""
    return st.one_of(
        st.just(am.causal()),
        st.builds(am.window, small, small),
        st.builds(am.chunked, st.integers(1, 5)),
        st.builds(am.strided, st.integers(1, 5)),
        st.builds(am.prefix, lengths),
        st.builds(am.landmarks, st.lists(st.integers(0, REACH), min_size=1, max_size=3)),
        st.builds(am.grid, st.just([2, 3]), st.integers(1, 2)),
    )


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
    st.builds(am.dilated, st.integers(1, 5)),
    st.builds(am.strided, st.integers(1, 5)),
    st.builds(am.sinks, small),
    st.builds(am.landmarks, st.lists(st.integers(0, REACH), min_size=1, max_size=3)),
    st.builds(lambda one, other: am.landmarks([[one], [other]]), small, small),
    st.builds(am.blocks, patterns(3, 3), st.just(3)),
    st.builds(lambda one, other: am.blocks([[one], [other]], [2, 3]), patterns(5, 3), patterns(5, 3)),
    st.builds(lambda size, seed: am.random_blocks(REACH, size, 2, seed=seed), st.integers(1, 5), small),
    st.builds(am.grid, st.just([3, 3]), st.integers(1, 3), st.just(1), edges),
    st.builds(am.grid, st.just(REACH), st.integers(1, 4), st.integers(1, 2), edges),
    st.builds(am.grid, st.just([2, 2, 2]), st.just([1, 2, 1])),
    st.builds(lambda order: am.sliding_tiles([2, 4], 2, [2, 2], order=order), st.sampled_from(["row", "tile"])),
    st.builds(am.axial, st.sampled_from([[3, 3], [2, 4], [1, 8]]), st.integers(0, 1)),
    st.builds(am.images, st.lists(st.integers(-1, 2), min_size=REACH, max_size=REACH)),
    st.builds(lambda one, other: am.images([one, other]), ids, ids),
    st.builds(lambda starts, size: am.media(sorted(starts), size), lengths, st.integers(5, 6)),
    st.builds(lambda one, other: am.media([[one, 4], [other, 6]], 5), st.integers(0, 4), st.integers(0, 4)),
    st.builds(am.block_diffusion, st.integers(2, 5), st.integers(1, 3)),
    st.builds(lambda one, other: am.shared_prefix([one, other, REACH - one - other]), small, st.integers(0, 3)),
    st.builds(lambda one: am.shared_prefix([[one, REACH - one], [3, 6]], parents=[-1, -1]), small),
    st.builds(am.tree, parents(REACH)),
    st.builds(lambda one, other: am.tree([one, other]), parents(REACH), parents(REACH)),
    st.builds(lambda nodes: am.tree(nodes, offset=3), parents(REACH - 3)),
    st.builds(lambda mask, cut: mask.within(am.documents(lengths=[cut, REACH - cut])), relative(), small),
    st.builds(lambda mask, one: mask.within([[0] * one + [1] * (REACH - one), [7] * REACH]), relative(), small),
    st.builds(lambda mask, by: mask.shift(q=by, k=by[::-1]), relative(), lengths),
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
