"""A mask inside each document: its positions counted from the document's own start."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from attnmask.define.kind import kinds
from attnmask.define.language import Apply, Index, Lookup, Named, Node, Rebuild, fold
from attnmask.define.mask import LATER, Mask
from attnmask.define.parts.rows import has_batch, rows_of, table_of
from attnmask.define.tables import Table
from attnmask.errors import MaskError


def within(mask: Mask, documents: Any) -> Mask:
    """``mask.within(documents)``: see there."""
    given = documents if isinstance(documents, Mask) else kinds()["documents"](documents)
    ids = _ids(given)
    places = table_of([_places(row) for row in rows_of(ids)], has_batch(ids))
    body = Apply("&", (fold(mask.plain, _Inside(places)), given.plain))
    return Mask(Named("within", ((None, mask.node), (None, given.node)), body, method=True))


def _ids(documents: Mask) -> Table:
    """The table of a documents() mask."""
    match documents.node:
        case Named(name="documents", body=Apply(op="==", args=(Lookup(table=ids), _))):
            return ids
    raise MaskError(
        "a mask is counted within a documents() mask, or within ids",
        repr(documents),
        "Write mask.within(am.documents(lengths=[5, 4])); combine with & afterwards",
    )


def _places(ids: Sequence[int]) -> array[int]:
    """The position of each token in its own document."""
    starts: dict[int, int] = {}
    places = array("q")
    for document, run in groupby(ids):
        start = len(places)
        if document in starts:
            raise MaskError(
                "documents that a mask is counted within are contiguous",
                f"document {document} at position {starts[document]} and again at {start}",
                "Number the pieces as documents of their own",
            )
        starts[document] = start
        places.extend(range(sum(1 for _ in run)))
    return places


class _Inside(Rebuild):
    """Query and key positions looked up among the positions in their documents."""

    def __init__(self, places: Table) -> None:
        self.places = places

    def index(self, name: str) -> Node:
        position = Index(name)
        if name not in ("q", "k"):
            return position
        return Lookup(self.places, (Index("b"), position) if has_batch(self.places) else (position,))

    def lookup(self, table: Table, at: tuple[Node, ...]) -> Node:
        return Lookup(replace(table, role="value"), at)  # lengths in a document are not bounded by kv_len


LATER["within"] = within
