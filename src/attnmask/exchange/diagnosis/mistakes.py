"""Mistakes that show in the pattern of visible cells, one function each: extend ``MISTAKES`` to find one more."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from attnmask.exchange.diagnosis.finding import Finding, cells
from attnmask.exchange.diagnosis.inverted import is_inverted_padding, opposite
from attnmask.exchange.diagnosis.pattern import Pattern


def inverted_polarity(pattern: Pattern) -> Iterator[Finding]:
    """Visible and hidden exchanged: the opposite is a known mask, and this is not."""
    fix = "Invert the mask: ~mask"
    if _sees_the_future_only(pattern):
        yield Finding(
            "inverted-polarity",
            "each query sees the future and not its past: True and False (or hidden and visible) are exchanged",
            "above the diagonal",
            fix,
        )
        return
    known = opposite(pattern)
    if known is not None or is_inverted_padding(pattern):
        what = "padding" if known is None else known
        yield Finding(
            "inverted-polarity",
            f"what is hidden is {what}, and what is visible is not a mask: True and False are exchanged",
            cells(pattern.visible),
            fix,
        )


def _sees_the_future_only(pattern: Pattern) -> bool:
    """A strict triangle above the diagonal, of the keys in use."""
    return pattern.is_square and pattern.q_len > 1 and pattern.sees(pattern.rows + 1, pattern.kv_len)


def transposed(pattern: Pattern) -> Iterator[Finding]:
    """The upper triangle with its diagonal."""
    start = max(0, pattern.starts[0])
    low = pattern.rows + start
    if (
        pattern.q_len > 1
        and pattern.sees(low, pattern.kv_len)
        and ((pattern.ends[0] < low) & (pattern.counts > 0)).any()
    ):
        yield Finding(
            "transposed",
            "each query sees itself and only the future: queries and keys are exchanged",
            f"the main diagonal and all above it, with the first query at q_start={start}",
            "Transpose the mask: mask.T, numpy.tril instead of numpy.triu",
        )


def off_by_one(pattern: Pattern) -> Iterator[Finding]:
    """Causal with one token ahead, all of the past visible; a bounded window may look ahead on purpose."""
    if any(pattern.sees(0, pattern.rows + start) for start in pattern.starts):
        return
    for start in pattern.starts:
        ahead = pattern.rows + start + 1
        if pattern.sees(0, ahead) and (ahead < pattern.ends[1]).any():
            yield Finding(
                "off-by-one",
                "each query sees one token ahead, which in training is the answer",
                f"row i sees key i + {start + 1}, the first diagonal above the main one if the first query is at q_start={start}",
                "Shift the mask by one: am.causal(), numpy.tril(ones) without k=1",
            )
            return


def hidden_self(pattern: Pattern) -> Iterator[Finding]:
    """Queries that see others and not themselves. A strict upper triangle may also be this, and transposed."""
    if not pattern.is_square:
        return
    if not (pattern.used.any(-1) & ~pattern.own(0)[0].any(-1)).any():  # padding hides some of itself rightly
        return
    is_triangle = pattern.used[:, 1:].all() and _sees_the_future_only(pattern)
    if is_triangle or opposite(pattern) is None:
        empty = "; the first one sees nothing at all" if not pattern.slices[:, 0].any() else ""
        yield Finding(
            "hidden-self",
            f"queries do not see their own position{empty}",
            "the main diagonal",
            "Include the diagonal: k <= q, not k < q",
        )


def empty_row(pattern: Pattern) -> Iterator[Finding]:
    """Queries that see nothing."""
    empty = np.logical_not(pattern.visible.any(-1))
    if empty.any():
        yield Finding(
            "empty-row",
            "a row that sees nothing is NaN with -inf, and the mean of all values, forbidden ones included, with a finite fill",
            f"query row {cells(empty)}",
            "Use am.attention, which gives exactly zero there, or let the row see itself and ignore its output",
        )


def batch_as_query(pattern: Pattern) -> Iterator[Finding]:
    """Rows of padding, whose lengths go up and down as those of sequences do and those of queries do not."""
    if pattern.visible.ndim != 2 or pattern.visible.all() or (pattern.counts == 0).all():
        return
    lengths, size = pattern.counts[0], pattern.kv_len
    some = lengths > 0
    right = (pattern.last[0] == lengths - 1)[some].all() and (np.diff(lengths[some]) < 0).any()
    left = (pattern.first[0] == size - lengths)[some].all() and (np.diff(lengths[some]) > 0).any()
    if right or left:
        yield Finding(
            "batch-as-query",
            "each row is a run of its own length: this looks like padding (batch, kv_len), read as (q_len, kv_len)",
            f"shape {pattern.visible.shape}, lengths {lengths[:8].tolist()}",
            "Give it axes: am.padding(valid=array), or array[:, None, None, :]",
        )


def hides_everything(pattern: Pattern) -> Iterator[Finding]:
    """Nothing is visible."""
    if not pattern.visible.any():
        yield Finding(
            "hides-everything", "no query sees any key", "everywhere", "Invert the mask, or check how it was made"
        )


MISTAKES: list[Callable[[Pattern], Iterator[Finding]]] = [
    inverted_polarity,
    transposed,
    off_by_one,
    hidden_self,
    empty_row,
    batch_as_query,
    hides_everything,
]
