"""Every kind of mask at a given length, for the tests of lowering."""

import numpy as np

import attnmask as am


def ids(n, count=5):
    """Document ids of n positions, ``count`` documents of unequal lengths."""
    cuts = sorted({1 + n * place**2 // count**2 for place in range(1, count)} - {n})
    return np.searchsorted(cuts, np.arange(n), side="right")


def factors(n):
    """Height and width of a grid of n positions."""
    height = max(side for side in range(1, int(n**0.5) + 1) if n % side == 0)
    return height, n // height


def parents(n):
    """A tree of n nodes: node i hangs below (i - 1) // 2."""
    return [-1] + [(node - 1) // 2 for node in range(1, n)]


def kinds_at(n):
    """name -> mask, every kind at least once, and combinations."""
    random = np.random.default_rng(n)
    edges = random.integers(0, n, (2 * n, 2))
    images = np.where(np.arange(n) % 7 < 3, np.arange(n) // 7, -1)
    return {
        "everything": am.everything(),
        "nothing": am.nothing(),
        "causal": am.causal(),
        "not causal": ~am.causal(),
        "window": am.window(n // 5),
        "window both": am.window(3, n // 7),
        "padding": am.padding([n, n // 2, 0]),
        "padding left": am.padding([n // 3], side="left", kv_len=n),
        "padding valid": am.padding(valid=random.random((2, n)) < 0.5),
        "causal & padding": am.causal() & am.padding([n // 2, n]),
        "prefix LM": am.prefix(n // 4) | am.causal(),
        "documents": am.documents(ids(n)),
        "causal documents, batched": am.causal() & am.documents([ids(n), ids(n, 3)]),
        "documents in no order": am.documents(random.integers(0, 3, n)),
        "chunked": am.chunked(max(1, n // 6)) & am.causal(),
        "dilated": am.dilated(3) & am.window(n // 3),
        "sinks": (am.sinks(4) | am.window(n // 8)) & am.causal(),
        "landmarks": am.landmarks([0, n // 2, n - 1]) | am.window(2, 2),
        "strided": am.strided(max(2, int(n**0.5))),
        "blocks": am.blocks(random.random((-(-n // 50),) * 2) < 0.3, 50),
        "random blocks": am.random_blocks(n, max(1, n // 9), min(2, n), seed=1) | am.window(1, 1),
        "grid": am.grid(factors(n), tuple(min(3, side) for side in factors(n))),
        "grid clipped": am.grid(factors(n), tuple(min(3, side) for side in factors(n)), edge="clip"),
        "sliding tiles": am.sliding_tiles(n, n, n),
        "axial": am.axial(factors(n), 0),
        "images": am.causal() | am.images(images),
        "media": am.media([0, n // 3, n // 2], max(1, n // 2)),
        "block diffusion": am.block_diffusion(max(1, n // 2), 8),
        "shared prefix": am.shared_prefix([n - 2 * (n // 3), n // 3, n // 3]),
        "tree": am.tree(parents(n)),
        "graph": am.graph(edges, n),
        "graph & causal": am.graph(edges, n) & am.causal(),
        "table": am.table(random.random((n, n)) < 0.02),
        "per head": am.q - am.k <= am.lookup([n // 8, n // 4], am.h),
        "within": am.window(3).within(am.documents(ids(n))),
        "where": am.where(am.q % 2 < 1, am.causal(), am.window(5)),
    }
