"""``show``: a picture of a mask in a frame, rows = queries, columns = keys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.text.parse import given
from attnmask.errors import InputError, LoweringError
from attnmask.explain.document import Document
from attnmask.explain.labels import token_label
from attnmask.explain.parts import Grid, Part, Words
from attnmask.lower.regions import EMPTY, FULL, PARTIAL
from attnmask.lower.tiling import tiling

TEXT_CELLS = 40  # rows or columns of a picture in text, and in the other formats; larger masks are shown in blocks
DRAWN_CELLS = 256
MOST_GRIDS = 16


@dataclass(frozen=True, repr=False)
class Picture(Document):
    """A mask in a frame, to be shown: ``text()``, ``svg()``, ``html()``, ``png()``, ``save(path)``."""

    mask: Mask
    frame: Frame
    tokens: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The mask, the size of the frame, and how much is visible."""
        return _title(self.mask, self.frame)

    def describe(self, output: str) -> Sequence[Part]:
        """One grid per batch and head that differ."""
        fitted = fit(self.mask, self.frame)
        blocks = _blocks(self.mask, fitted, TEXT_CELLS if output == "text" else DRAWN_CELLS)
        labels = _labels(self.frame, fitted, self.tokens, blocks.step)
        places = list(np.ndindex(fitted.batch, fitted.heads))
        grids = [_grid(blocks, place, labels) for place in places[:MOST_GRIDS]]
        return [*_notes(blocks, len(places)), *grids]

    def png(self) -> bytes:
        """A PNG file; needs Pillow."""
        return bytes(self.render("png"))

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        svg = self.svg()
        return {"text/plain": self.text(), "image/svg+xml": svg, "text/html": f"<div>{svg}</div>"}


def show(mask: Mask | str, frame: Frame | int, *, tokens: Sequence[str] | None = None) -> Picture:
    """A picture of a mask: rows = queries, columns = keys, filled = visible.

    In a mask of more than 40 queries or keys (256 in drawings), a cell stands for a block of them and says whether
    all, some or none of the block is visible; a single visible or hidden position is never lost.

    >>> import attnmask as am
    >>> am.show(am.causal(), 3, tokens=["I", "love", "it"])
    causal(): 3 queries x 3 keys, 6 of 9 visible (66.7 %)
           I love it
         I ■  ·   ·
      love ■  ■   ·
        it ■  ■   ■
    >>> print(am.show(am.causal(), 100).text().splitlines()[1])
    each cell stands for 3 queries x 3 keys (fewer at the ends)

    Args:
        mask: the mask.
        frame: where it is seen: a frame, or the length of a square one.
        tokens: the text of each key (kv_len,). Queries that stand at positions of keys get the same texts.

    Raises:
        FrameError: the mask cannot be seen in this frame.
        InputError: there is not one token per key.
    """
    mask, frame = given(mask), Frame.of(frame)
    fit(mask, frame)
    if tokens is not None and (isinstance(tokens, str) or len(tokens) != frame.kv_len):
        raise InputError(
            "tokens are one text per key",
            f"{len(tokens)} of type {type(tokens).__name__} for kv_len={frame.kv_len}",
            "Give a list of kv_len texts, or leave tokens out",
        )
    return Picture(mask, frame, tuple(map(str, tokens or ())))


KINDS = {EMPTY: "hidden", PARTIAL: "partial", FULL: "visible"}


class Blocks(NamedTuple):
    """The kind of each block of ``step`` queries x ``step`` keys: (batch, heads, block rows, block columns)."""

    fitted: Fitted
    step: int
    kinds: NDArray[np.int8]


def _blocks(mask: Mask, fitted: Fitted, most: int) -> Blocks:
    step = -(-max(fitted.q_len, fitted.kv_len) // most)
    tiles = tiling(mask.node, fitted, step, step)
    shape = (fitted.batch, fitted.heads, tiles.grid.rows, tiles.grid.columns)
    return Blocks(fitted, step, tiles.runs.dense(tiles.grid.columns).reshape(shape))


def _title(mask: Mask, frame: Frame) -> str:
    fitted = fit(mask, frame)
    size = f"{mask}: {fitted.q_len} queries x {fitted.kv_len} keys"
    try:
        seen, pairs = mask.count(frame), math.prod(fitted.shape)
    except LoweringError:  # too many to be counted one by one
        return size
    return f"{size}, {seen} of {pairs} visible ({_percent(seen, pairs)} %)"


def _percent(seen: int, pairs: int) -> str:
    """One decimal, but 0.0 and 100.0 only where they are exact."""
    near = round(100 * seen / pairs, 1)
    if near == 0.0 and seen:
        return "< 0.1"
    return "> 99.9" if near == 100.0 and seen < pairs else str(near)


def _notes(blocks: Blocks, places: int) -> Iterator[Words]:
    if blocks.step > 1:
        yield Words(f"each cell stands for {blocks.step} queries x {blocks.step} keys (fewer at the ends)")
    if places > MOST_GRIDS:
        yield Words(f"the first {MOST_GRIDS} of {places} pairs of batch and head are shown; all are counted")


def _grid(blocks: Blocks, place: tuple[int, ...], labels: tuple[tuple[str, ...], tuple[str, ...]]) -> Grid:
    kinds = tuple(tuple(KINDS[kind] for kind in row) for row in blocks.kinds[place].tolist())
    return Grid(kinds, *labels, _caption(blocks.fitted, place), _diagonal(blocks))


def _caption(fitted: Fitted, place: tuple[int, ...]) -> str:
    said = zip(("batch", "head"), place, (fitted.batch, fitted.heads), strict=True)
    return ", ".join(f"{name} {at}" for name, at, size in said if size > 1)


def _diagonal(blocks: Blocks) -> tuple[tuple[int, int], ...]:
    """The cells at which a query meets its own position."""
    fitted = blocks.fitted
    if blocks.step > 1:
        return ()
    rows = range(fitted.q_len)
    return tuple((row, row + fitted.q_start) for row in rows if 0 <= row + fitted.q_start < fitted.kv_len)


def _labels(
    frame: Frame, fitted: Fitted, tokens: tuple[str, ...], step: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Positions, or the tokens at them; of a block, its first."""
    queries = range(fitted.q_start, fitted.q_start + fitted.q_len, step)
    keys = range(0, fitted.kv_len, step)
    own = tokens if frame.q_start is not None else ()  # else the queries are of another sequence than the keys
    return tuple(_label(at, own) for at in queries), tuple(_label(at, tokens) for at in keys)


def _label(position: int, tokens: tuple[str, ...]) -> str:
    return token_label(tokens[position]) if 0 <= position < len(tokens) else str(position)
