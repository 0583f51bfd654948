"""``flow``: what can reach what through a stack of masked layers, and along which path.

A layer with mask M, a residual connection and position-wise operations lets position k reach position q if ``k == q`` or M
shows k to q. A stack lets through the product of its layers. Positions are followed through runs of visible keys, so
no array of q_len x kv_len is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.text.parse import given
from attnmask.errors import FrameError, InputError
from attnmask.lower.intervals import intervals
from attnmask.lower.runs import Runs, spread

Bools = NDArray[np.bool_]


class Hop(NamedTuple):
    """One step of a path: the layer (None for the residual connection past it) and the position after it."""

    layer: int
    position: int
    attends: bool


@dataclass(frozen=True)
class Flow:
    """What reaches what after a stack of layers; made by ``attnmask.flow``."""

    masks: tuple[Mask, ...]
    length: int
    layers: tuple[Runs, ...]  # of each layer, the visible keys of each query

    def sources(self, q: int) -> list[int]:
        """The input positions that output position ``q`` can depend on.

        >>> import attnmask as am
        >>> am.flow([am.window(2)] * 3, 20).sources(15)
        [9, 10, 11, 12, 13, 14, 15]
        """
        return np.flatnonzero(self._backwards(self._checked(q))[0]).tolist()

    def targets(self, k: int) -> list[int]:
        """The output positions that input position ``k`` can reach.

        >>> import attnmask as am
        >>> am.flow([am.window(2)] * 3, 20).targets(15)
        [15, 16, 17, 18, 19]
        """
        reached = _only(self._checked(k), self.length)
        for runs in self.layers:
            before = np.concatenate([[0], np.cumsum(reached)])  # reached positions before each key
            hits = before[runs.stop] > before[runs.start]
            reached = reached | (np.bincount(runs.row[hits], minlength=self.length) > 0)
        return np.flatnonzero(reached).tolist()

    def reaches(self, q: int, k: int) -> bool:
        """Whether output ``q`` can depend on input ``k``."""
        return bool(self._backwards(self._checked(q))[0][self._checked(k)])

    def path(self, q: int, k: int) -> list[Hop] | None:
        """One way from input ``k`` to output ``q``, layer by layer; None if there is none.

        >>> import attnmask as am
        >>> [hop.position for hop in am.flow([am.window(2)] * 3, 20).path(15, 10)]
        [10, 11, 13, 15]
        """
        alive = self._backwards(self._checked(q))
        if not alive[0][self._checked(k)]:
            return None
        position, hops = k, []
        for layer, runs in enumerate(self.layers):
            following = self._next(runs, position, alive[layer + 1])
            hops.append(Hop(layer, following, following != position))
            position = following
        return [Hop(-1, k, False), *hops]

    def receptive_field(self, q: int) -> tuple[int, int]:
        """The first and last input position that output ``q`` can depend on."""
        found = self.sources(q)
        return found[0], found[-1]

    def _next(self, runs: Runs, position: int, alive: Bools) -> int:
        """Where to go from a position: stay while that still leads to the target, else the nearest query that sees it."""
        if alive[position]:
            return position
        sees = (runs.start <= position) & (position < runs.stop) & alive[runs.row]
        queries = runs.row[sees]
        return int(queries[np.argmin(np.abs(queries - position))])

    def _backwards(self, q: int) -> list[Bools]:
        """Before each layer, and after the last, the positions from which output q is still reached."""
        alive = [_only(q, self.length)]
        for runs in reversed(self.layers):
            alive.append(alive[-1] | _seen_by(runs, alive[-1]))
        return alive[::-1]

    def _checked(self, position: int) -> int:
        if not 0 <= position < self.length:
            raise InputError("positions are 0 .. length - 1", f"{position} of {self.length}", "Count from 0")
        return position


def _only(position: int, length: int) -> Bools:
    result = np.zeros(length, bool)
    result[position] = True
    return result


def _seen_by(runs: Runs, queries: Bools) -> Bools:
    """The keys that any of the queries sees."""
    first, last = runs.offsets[:-1][queries], runs.offsets[1:][queries]
    chosen = spread(first, last - first)
    steps = np.zeros(len(queries) + 1, np.int64)
    np.add.at(steps, runs.start[chosen], 1)
    np.add.at(steps, runs.stop[chosen], -1)
    return np.asarray(np.cumsum(steps)[:-1] > 0)


def flow(masks: Sequence[Mask | str], frame: Frame | int) -> Flow:
    """What can reach what through layers with these masks, the first layer first.

    >>> import attnmask as am
    >>> stack = am.flow([am.window(4), am.causal() & am.chunked(8), am.window(4)], 32)
    >>> stack.receptive_field(20)
    (12, 20)
    >>> stack.reaches(20, 8)
    False

    Args:
        masks: the mask of each layer; one that differs between batches or heads is refused.
        frame: a square frame, or its length: the layers of a stack see the same positions.
    """
    frame = Frame.of(frame)
    if frame.q_len != frame.kv_len or frame.q_start != 0:
        raise FrameError(
            "the layers of a stack see the same positions", repr(frame), f"Write flow(masks, {frame.kv_len})"
        )
    if not masks:
        raise InputError("a stack has at least one layer", "no masks", "Write flow([mask] * layers, length)")
    stack: tuple[Mask, ...] = tuple(map(given, masks))
    runs = {mask: _runs(mask, frame) for mask in dict.fromkeys(stack)}
    return Flow(stack, frame.kv_len, tuple(runs[mask] for mask in stack))


def _runs(mask: Mask, frame: Frame) -> Runs:
    fitted = fit(mask, frame)
    if (fitted.batch, fitted.heads) != (1, 1):
        raise InputError(
            "flow follows one batch and head",
            f"{fitted.batch} x {fitted.heads} in {mask}",
            "Give the masks of one of them",
        )
    return intervals(mask.node, fitted).runs
