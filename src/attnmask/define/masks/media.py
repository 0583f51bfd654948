"""Cross-attention from text to the images before it (Alayrac et al. 2022, "Flamingo", section 2.4)."""

from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q
from attnmask.define.parts.numbers import check_number
from attnmask.define.parts.rows import entry, has_batch, rows_of, table_of, whole_rows
from attnmask.define.tables import Table
from attnmask.errors import MaskError

NO_END = 2**31 - 1  # later than every query; larger numbers would not survive 32-bit engines


@kind
def media(starts: Any, size: int, *, ends: Any = None) -> Mask:
    """Queries are text, keys the tokens of images; a query sees the last image before it.

    Key k belongs to image ``k // size``: ``starts[b, k // size] <= q < ends[b, k // size]``

    >>> import attnmask as am
    >>> print(am.show(am.media([1, 3], 2), am.Frame(5, 4, q_start=0)).text())
    media([1, 3], 2): 5 queries x 4 keys, 8 of 20 visible (40.0 %)
        0 1 2 3
      0 · · · ·
      1 ■ ■ · ·
      2 ■ ■ · ·
      3 · · ■ ■
      4 · · ■ ■

    Text before the first image sees nothing: its attention is exactly zero.

    Args:
        starts: text position of each image, which sees it already: (images,) or (batch, images), ascending.
        size: tokens per image, at least 1.
        ends: one past the last text position that sees each image, shaped like ``starts``. Left out, an image ends
            where the next one starts, and the last one never. ``ends`` as long as the text shows every earlier image.
    """
    check_number("size", size, least=1, rule="an image has at least 1 token", fix="Write media(starts, size=64)")
    rule, fix = (
        "starts and ends are text positions (images,) or (batch, images)",
        "Give for each image the position in the text at which it stands",
    )
    first = whole_rows(starts, rule=rule, fix=fix)
    last = _next_starts(first) if ends is None else whole_rows(ends, rule=rule, fix=fix)
    if last.shape != first.shape:
        raise MaskError("every image has one start and one end", f"{first.shape} and {last.shape}", fix)
    image = k // size
    mask: Mask = (entry(first, image) <= q) & (q < entry(last, image))
    return mask


def _next_starts(first: Table) -> Table:
    rows = rows_of(first)
    if any(sorted(row) != row for row in rows):
        raise MaskError("without ends, starts ascend", first.tolist(), "Sort the images by their place in the text")
    return table_of([[*row[1:], NO_END] for row in rows], has_batch(first))


EXAMPLES = [
    (media([1, 3], 2), Frame(6, 4, q_start=0)),
    (media([0, 1, 7], 3, ends=[7, 7, 12]), Frame(12, 9, align="start")),
    (media([[0, 2], [1, 4]], 2), Frame(3, 4, q_start=2)),
]
