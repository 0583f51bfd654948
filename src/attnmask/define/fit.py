"""``fit``: check a mask against a frame, and fill in what the frame left to the mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from attnmask.define.bounds.bounds import Pair, bounds
from attnmask.define.bounds.width import too_wide
from attnmask.define.frame import Frame
from attnmask.define.language import Apply, Const, Index, Lookup, Node, nodes, variables
from attnmask.define.mask import Mask
from attnmask.define.normal.canonical import normal_of
from attnmask.define.normal.linear import linear, sum_of
from attnmask.define.text.notation import text_of
from attnmask.errors import FrameError

BITS = 62  # of numbers beside their sign: what NumPy and torch compute in, with room for a sum
AXIS_NAMES = {"b": "batch", "h": "heads"}


class Fitted(NamedTuple):
    """A frame in which nothing is left open, for one mask."""

    q_len: int
    kv_len: int
    q_start: int
    batch: int
    heads: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(batch, heads, q_len, kv_len)."""
        return (self.batch, self.heads, self.q_len, self.kv_len)

    @property
    def ranges(self) -> dict[str, Pair]:
        """First and last of each index variable."""
        return {
            "b": (0, self.batch - 1),
            "h": (0, self.heads - 1),
            "q": (self.q_start, self.q_start + self.q_len - 1),
            "k": (0, self.kv_len - 1),
        }


def fit(mask: Mask, frame: Frame | int) -> Fitted:
    """The frame with q_start, batch and heads filled in; an error if the mask cannot be seen in it.

    ``batch`` and ``heads`` become 1 where the mask does not depend on them.

    >>> import attnmask as am
    >>> fit(am.padding([3, 2]), am.Frame(4))
    Fitted(q_len=4, kv_len=4, q_start=0, batch=2, heads=1)
    >>> fit(am.causal(), am.Frame(1, 5))
    Traceback (most recent call last):
    attnmask.errors.FrameError: with q_len != kv_len a mask that depends on the query's position needs to know where the first query stands; got Frame(1, 5) for causal(). Write Frame(1, 5, align='end') for cached decoding (q_start=4), or align='start' (q_start=0).
    """
    frame = Frame.of(frame)
    used = _used(mask, frame)
    sizes = {axis: _axis_size(mask, frame, axis) if axis in used else 1 for axis in AXIS_NAMES}
    fitted = Fitted(frame.q_len, frame.kv_len, _start(mask, frame, used), sizes["b"], sizes["h"])
    for node in _lookups(mask.node):
        _check_lookup(mask, node, fitted)
    _check_numbers(mask, fitted)
    return fitted


def _used(mask: Mask, frame: Frame) -> frozenset[str]:
    """The index variables that a mask depends on; where the frame leaves one open, by meaning and not by spelling."""
    used = variables(mask.node)
    is_open = {"q": frame.q_start is None, "b": frame.batch is None, "h": frame.heads is None}
    return variables(normal_of(mask)) if any(is_open.get(name) for name in used) else used


def _start(mask: Mask, frame: Frame, used: frozenset[str]) -> int:
    if frame.q_start is not None:
        return frame.q_start
    if "q" not in used:
        return 0
    size = f"{frame.q_len}, {frame.kv_len}"
    raise FrameError(
        "with q_len != kv_len a mask that depends on the query's position needs to know where the first query stands",
        f"{frame} for {mask}",
        f"Write Frame({size}, align='end') for cached decoding (q_start={frame.kv_len - frame.q_len}), "
        "or align='start' (q_start=0)",
    )


def _axis_size(mask: Mask, frame: Frame, axis: str) -> int:
    """The size of the batch or heads axis: what the tables say, and the frame where they say nothing."""
    name = AXIS_NAMES[axis]
    said = {
        node.table.shape[place]
        for node in _lookups(mask.node)
        for place, at in enumerate(node.at)
        if _summed(at) == Index(axis)
    }
    given = getattr(frame, name)
    if len(said) > 1:
        raise FrameError(
            f"all tables of a mask have one {name} size", f"sizes {sorted(said)} in {mask}", "Build them from one batch"
        )
    if not said and given is None:
        raise FrameError(
            f"a mask that depends on {axis} without a table needs the {name} size",
            f"{frame} for {mask}",
            f"Write Frame(..., {name}=...)",
        )
    size = said.pop() if said else given
    if given not in (None, size):
        raise FrameError(
            f"the {name} of the frame is that of the mask's tables",
            f"{name}={given} for {mask}, whose tables say {size}",
            f"Leave {name} out, or build the mask for {given}",
        )
    return int(size)


def _check_lookup(mask: Mask, node: Lookup, frame: Fitted) -> None:
    table = node.table
    if table.role == "length" and table.bounds[1] > frame.kv_len:
        raise FrameError(
            "lengths are at most kv_len",
            f"a length of {table.bounds[1]} in {mask} with kv_len={frame.kv_len}",
            "Check that lengths count tokens and kv_len is the padded length; to cut, write numpy.minimum(lengths, kv_len)",
        )
    for size, at in zip(table.shape, node.at, strict=True):
        low, high = bounds(_summed(at), frame.ranges)
        if low < 0 or high >= size:
            raise FrameError(
                "a table covers every position that the frame asks for",
                f"{text_of(at)} from {low} to {high}, but a table of shape {table.shape} in {mask}",
                _lookup_fix(at, size, frame),
            )


def _check_numbers(mask: Mask, frame: Fitted) -> None:
    found = too_wide(mask.node, frame.ranges, BITS)
    if found is None:
        return
    alone = isinstance(found.node, Const)
    raise FrameError(
        f"the numbers of a mask stay within {BITS} bits, so that every engine computes them",
        f"{text_of(found.node)}{'' if alone else f' from {found.low} to {found.high}'} in {mask}",
        "Write a number that positions reach, or None for no limit" if alone else "Divide instead, or use a table",
    )


def _summed(at: Node) -> Node:
    """A position with its sums worked out: ``q + 3 - 3`` is ``q``, and seen to stay where q does."""
    return sum_of(linear(at)) if isinstance(at, Apply) else at


def _lookup_fix(at: Node, size: int, frame: Fitted) -> str:
    if at == Index("q") and size < frame.q_len:
        return "If the first axis is the batch, write padding(valid=array); else give one row per query"
    return f"Use a frame within 0 .. {size - 1}, or keep the position inside: minimum(position, {size - 1})"


def _lookups(node: Node) -> Iterator[Lookup]:
    return (part for part in nodes(node) if isinstance(part, Lookup))
