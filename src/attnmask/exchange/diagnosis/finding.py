"""``Finding``: one mistake, and the words for where it stands."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SHOWN = 3  # positions in a text


class Finding(NamedTuple):
    """One mistake: a stable code, what it means, where it stands, and what to write instead."""

    code: str
    message: str
    where: str
    fix: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.where}). {self.fix}."


def cells(where: NDArray[Any]) -> str:
    """The first few positions of True, in words.

    >>> cells(np.tri(3, dtype=bool)), cells(np.array([False, True]))
    ('(0, 0), (1, 0), (1, 1) and 3 more', '1')
    """
    flat, start, found = where.reshape(-1), 0, list[str]()
    total = int(np.count_nonzero(flat))
    while len(found) < min(SHOWN, total):
        start += int(flat[start:].argmax())
        place = tuple(map(int, np.unravel_index(start, where.shape)))
        found.append(str(place) if len(place) > 1 else str(place[0]))
        start += 1
    more = total - len(found)
    return ", ".join(found) + (f" and {more} more" if more > 0 else "")
