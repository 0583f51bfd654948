"""Tiles in JAX, made small: what they give is the oracle's, forward, backward, under vmap and forward-mode derivatives."""

import functools

import numpy as np
import pytest

import attnmask as am
from attnmask.run.contract import checked_frame
from attnmask.run.engines.jax import engine
from attnmask.run.engines.jax import tiles as jax_tiles
from attnmask.run.engines.numpy import oracle
from attnmask.run.request import Request

jax = pytest.importorskip("jax")

CAUSAL, SCALE, BLOCK = am.causal(), 0.5, 3
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
CASES = [
    (CAUSAL & am.window(4), am.Frame(13)),
    (CAUSAL & am.padding([13, 0]), am.Frame(13)),  # rows of every group, and a sequence that sees nothing
    (am.documents([[0] * 5 + [1] * 8, [0] * 9 + [1] * 4]), am.Frame(13)),
    (am.same(am.h % 2, am.k % 2) & am.window(3, 1), am.Frame(2, 11, q_start=7)),  # heads differ, grouped keys
    (am.same((am.h + am.b) % 2, am.k // 4 % 2), am.Frame(7, 9, q_start=0)),  # batches and heads differ
    (am.nothing(), am.Frame(4)),
]


def arrays(frame):
    random = np.random.default_rng(0)
    shapes = [(2, 4, frame.q_len, 4), (2, 2, frame.kv_len, 4), (2, 2, frame.kv_len, 3), (2, 4, frame.q_len, 3)]
    return [random.standard_normal(shape).astype("float32") for shape in shapes]


@pytest.mark.parametrize(("mask", "frame"), CASES, ids=str)
def test_output_and_gradients_are_the_oracle_s(mask, frame):
    q, k, v, grad = arrays(frame)
    settled = checked_frame(frame, mask, q, k)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def run(*qkv):
        output, pull = jax.vjp(lambda *qkv: jax_tiles._attend(*qkv, mask, settled, SCALE, BLOCK), *qkv)
        return output, *pull(grad)

    expected = [oracle.attention(q, k, v, mask, settled, SCALE), *oracle.gradients(q, k, v, grad, mask, settled, SCALE)]
    for found, right in zip(run(q, k, v), expected, strict=True):
        np.testing.assert_allclose(found, right, atol=1e-5)
    empty = np.broadcast_to(mask.empty_rows(settled), (2, 4, frame.q_len))
    assert not np.asarray(run(q, k, v)[0])[empty].any()


def test_vmap_and_forward_mode():
    mask, frame = CASES[0]
    q, k, v, _ = arrays(frame)
    settled = checked_frame(frame, mask, q, k)

    def run(q):
        return jax_tiles._attend(q, k, v, mask, settled, SCALE, BLOCK)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both(q):
        return jax.vmap(run)(q[None])[0], jax.jvp(run, (q,), (q,))

    mapped, (output, slope) = both(q)
    np.testing.assert_allclose(mapped, output, atol=1e-6)
    step = 1e-3
    moved = [oracle.attention(q * (1 + sign * step), k, v, mask, settled, SCALE) for sign in (1.0, -1.0)]
    np.testing.assert_allclose(slope, (moved[0] - moved[1]) / (2 * step), atol=1e-3)


def test_groups_hold_each_row_once_and_each_visible_tile():
    frame = am.Frame(1000, q_start=0)
    found = jax_tiles.groups(CAUSAL & am.window(200), frame, 64)
    rows = np.concatenate([group.rows for group in found.groups])
    assert sorted(rows) == list(range(16))
    tiles = am.lower(CAUSAL & am.window(200), frame, "tiles", tile=64).dense()[0, 0]
    for group in found.groups:
        for row, keys, used in zip(group.rows, group.keys, group.used, strict=True):
            assert keys[:used].tolist() == np.flatnonzero(tiles[row]).tolist()


def test_what_is_compiled_does_not_grow_with_the_mask():
    """A hundred documents of different lengths are a few groups."""
    lengths = np.random.default_rng(0).integers(20, 300, 100).tolist()
    frame = am.Frame(sum(lengths), q_start=0)
    found = jax_tiles.groups(CAUSAL & am.documents(lengths=lengths), frame, jax_tiles.BLOCK)
    assert len(found.groups) <= 5
    assert found.pairs < 0.05 * frame.q_len**2


@pytest.mark.parametrize(
    ("mask", "length", "sparse"),
    [
        (CAUSAL & am.window(255), 4096, True),
        (CAUSAL & am.window(255), 512, False),
        (CAUSAL | am.prefix(3000), 4096, False),
    ],
)
def test_tiles_are_taken_where_they_are_few(mask, length, sparse):
    request = Request("jax", mask, am.Frame(length, q_start=0), 2, 8, 2, 64, 64)
    assert jax_tiles.worth(mask, request.frame) == sparse
    work = engine.work(request)
    assert (work.computed < 16 * length**2 / 2) == sparse
    assert ("groups of rows" in work.words) == sparse


def test_attention_of_a_long_sparse_mask_takes_them(monkeypatch):
    monkeypatch.setattr(jax_tiles, "FEWEST_PAIRS", 1)
    monkeypatch.setattr(jax_tiles, "BLOCK", BLOCK)
    q, k, v, _ = arrays(am.Frame(13))
    mask = CAUSAL & am.window(1)
    run = functools.partial(jax.jit, compiler_options=QUICK)(lambda *qkv: am.attention(*qkv, mask))
    assert "optimization_barrier" in str(
        jax.make_jaxpr(lambda *qkv: am.attention(*qkv, mask))(
            q + jax.numpy.zeros(()), k + jax.numpy.zeros(()), v + jax.numpy.zeros(())
        )
    )
    settled = checked_frame(None, mask, q, k)
    np.testing.assert_allclose(
        run(*map(jax.numpy.asarray, (q, k, v))), oracle.attention(q, k, v, mask, settled, 0.5), atol=1e-5
    )
