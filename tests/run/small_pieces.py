"""What the tests of plans share: examples of every kind, and plans with pieces small enough for small frames."""

import contextlib
import importlib
import pkgutil
from unittest import mock

import numpy as np

import attnmask as am
from attnmask.define import masks
from attnmask.run.engines.torch import plan as planning
from attnmask.run.engines.torch import rows


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


@contextlib.contextmanager
def small_pieces():
    """Sizes for frames of ten positions, so that blocks, rectangles and progressions all occur there."""
    with (
        mock.patch.object(planning, "EDGE", 1e9),
        mock.patch.object(rows, "ROW_BLOCKS", (2, 3)),
        mock.patch.object(rows, "FEWEST_ROWS", (3,)),
        mock.patch.object(rows, "WORTH_A_CALL", 2),
        mock.patch.object(planning, "FORWARD", planning.FORWARD._replace(call=0, row=1, merged=1)),
    ):
        yield


def forced(mask, frame):
    """The pieces of a mask, found anew."""
    with small_pieces():
        return planning.plan.__wrapped__(mask, frame)


def painted(plan):
    """How often the pieces compute each pair as visible: (batch, heads, q_len, kv_len)."""
    counts = np.zeros(plan.frame.shape, int)
    for piece in plan.pieces:
        shown = np.ones((piece.rows, piece.keys), int)
        if piece.causal:
            shown = np.tril(shown)
        if piece.hidden is not None:
            shown = shown & ~piece.hidden
        of_head = counts[piece.batch or 0, piece.head or 0]
        for tile in range(piece.tiles):
            keys = piece.k_start + tile * piece.k_step + piece.spacing * np.arange(piece.keys)
            of_head[np.ix_(rows_of(piece, tile), keys if piece.chosen is None else piece.chosen[tile])] += shown
    return counts


def rows_of(piece, tile):
    """The rows of a tile of a piece."""
    return piece.q_start + tile * piece.q_step + piece.spacing * np.arange(piece.rows)
