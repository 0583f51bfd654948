"""The baseline of memory: what is known of the text that is most like the one asked about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from attnmask.errors import require


class Neighbour(NamedTuple):
    """The known text that is most like another.

    Attributes:
        place: where it stands among the known ones.
        likeness: the cosine of the two, from 0 (no word in common) to 1 (the same words as often).
    """

    place: int
    likeness: float


def nearest(known: Sequence[str], asked: Sequence[str]) -> list[Neighbour]:
    """The neighbour of each text, by the words they share; a rare word counts for more (tf-idf).

    >>> [(found.place, round(found.likeness, 1)) for found in nearest(["the moon", "the sun"], ["a sun", "the moon"])]
    [(1, 0.8), (0, 1.0)]
    """
    table = require("sklearn.feature_extraction.text", "recipes").TfidfVectorizer(token_pattern=r"\w+")
    search = require("sklearn.neighbors", "recipes").NearestNeighbors(n_neighbors=1, metric="cosine")
    away, places = search.fit(table.fit_transform(known)).kneighbors(table.transform(asked))
    return [Neighbour(int(place), 1 - float(far)) for (far,), (place,) in zip(away, places, strict=True)]
