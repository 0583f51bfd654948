"""What the tests of plans share: examples of every kind, and plans in blocks small enough for small frames."""

import importlib
import pkgutil

import numpy as np

import attnmask as am
from attnmask.define import masks
from attnmask.run.engines.torch.plan import in_blocks_of


def examples():
    modules = [
        importlib.import_module(f"{masks.__name__}.{file.name}") for file in pkgutil.iter_modules(masks.__path__)
    ]
    own = [
        (am.same(am.h % 2, am.k % 2), am.Frame(5, heads=4)),
        (am.causal() & am.window(3) & am.same(am.h % 2, 0), am.Frame(12, heads=4)),
        (am.causal() & am.padding([12, 5, 0]), am.Frame(12)),
        (am.causal() & am.padding([12, 5, 0], side="left", kv_len=12), am.Frame(12)),
        (am.causal() & am.documents(lengths=[5, 1, 6]), am.Frame(12)),
        (am.causal() & (am.sinks(1) | am.window(2)), am.Frame(9, 12, align="end")),
        (am.window(2, 1), am.Frame(6, 12, q_start=3)),
        (am.chunked(2) & ~am.same(am.q // 2, 2), am.Frame(10)),  # equal tiles at unequal distances
    ]
    return [pair for module in modules for pair in module.EXAMPLES] + own


EXAMPLES = examples()
NAMES = [f"{mask} in {frame}" for mask, frame in EXAMPLES]


def forced(mask, frame):
    """Blocks of three rows."""
    return in_blocks_of(mask, am.Frame.of(frame), 3)


def painted(plan):
    """How often the blocks compute each pair as visible: (batch, heads, q_len, kv_len)."""
    counts = np.zeros(plan.frame.shape, int)
    for block in plan.blocks:
        shown = np.ones(block.size, int) if block.hidden is None else (~block.hidden).astype(int)
        rows, keys = numbers(block.rows), numbers(block.keys)
        counts[block.batch or 0, block.head or 0][np.ix_(rows, keys)] += shown
    return counts


def numbers(places):
    """The rows or keys of a block."""
    return np.arange(places.start, places.stop, places.step) if isinstance(places, slice) else places
