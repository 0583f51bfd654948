"""Images inside text: tokens of one image see each other (Zhou et al. 2024, "Transfusion"; Gemma 3, 2025)."""

from collections.abc import Iterator
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.kind import kind
from attnmask.define.mask import Mask, k, q, same
from attnmask.define.parts.found import Found, compared_rows
from attnmask.define.parts.rows import entry, whole_rows


@kind
def images(ids: Any) -> Mask:
    """Tokens of the same image see each other; text sees nothing by it: ``(ids[b, q] == ids[b, k]) & (ids[b, q] >= 0)``.

    Added to a decoder's mask, it makes every image bidirectional: ``causal() | images(ids)``.

    >>> import attnmask as am
    >>> print(am.show(am.causal() | am.images([-1, 0, 0, -1]), 4).text())
    causal() | images([-1, 0, 0, -1]): 4 queries x 4 keys, 11 of 16 visible (68.8 %)
        0 1 2 3
      0 ■ · · ·
      1 ■ ■ ■ ·
      2 ■ ■ ■ ·
      3 ■ ■ ■ ■

    Whether a window also cuts through images is yours to say: ``window(w) | images(ids)`` lets an image be whole,
    ``(causal() | images(ids)) & window(w, w)`` does not.

    Args:
        ids: the image of each position, (kv_len,) or (batch, kv_len); any negative number means text.
    """
    table = whole_rows(
        ids,
        rule="ids are whole numbers (kv_len,) or (batch, kv_len), negative for text",
        fix="Write for example [-1, 0, 0, -1]",
    )
    own = entry(table, q)
    mask: Mask = same(own, entry(table, k)) & (own >= 0)
    return mask


def guesses(found: Found) -> Iterator[Mask]:
    """The tables whose entries at query and key are compared."""
    yield from map(images, compared_rows(found))


EXAMPLES = [
    ((k <= q) | images([-1, 0, 0, 0, -1, 1, 1, -1]), Frame(8)),
    ((q - k < 2) & (k <= q) | images([0, 0, 0, -1, -1, 1, 1]), Frame(3, 7, align="end")),
    ((k <= q) | images([[-1, 0, 0, -1], [0, 0, 0, -1]]), Frame(4)),
]
