"""Held-out data that training has not seen in another dress: texts of one template stay on one side.

``libfoo-dev, version 2`` and ``libbar-dev, version 3`` are one text with other names. What varies from text to text is
taken out: words that are rare, or mostly written with a capital (names), or hold a digit. What is left is the template.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")

WORD = re.compile(r"\w[\w.+/_'-]*")
COMMON = (200, 3, 20)  # a word is no name if one text in 200 writes it in lower case: at least 3 texts, at most 20
SMALL = 10_000  # items, of which a tenth is for watching and another for the final score; of more, a fortieth each


def templates(texts: list[str]) -> list[str]:
    """Each text with a star for what varies: neighbouring stars are one.

    >>> texts = ["tools for the French desk", "tools for the German desk", "tools for the XY-2 desk"] * 10
    >>> sorted(set(templates(texts)))
    ['tools for the * desk']
    """
    common = _common(texts)
    return [_template(text, common) for text in texts]


def words(texts: list[str]) -> list[str]:
    """Each text as its words: a template with nothing taken out, for texts too short or too few for ``templates``.

    >>> words(["What's up?", "what's up"])
    ['what s up', 'what s up']
    """
    return [" ".join(re.findall(r"\w+", text.lower())) for text in texts]


def split(
    items: Iterable[Item],
    *texts: Callable[[Item], str],
    templates: Callable[[list[str]], list[str]] = templates,
) -> tuple[list[Item], list[Item], list[Item]]:
    """Items for training, for watching, and for the final score; no template is in two of them.

    The template of the first text decides, whatever the order of the items. A held-out item of which another text has a
    template that training knows is left out; and of each held-out template one item is kept, so that none counts twice.

    Args:
        items: anything.
        texts: the texts of an item, whose templates count.
        templates: what all texts are told apart by.
    """
    every = list(items)
    keys = list(zip(*(templates([text(item) for item in every]) for text in texts), strict=True))
    parts: tuple[list[Item], list[Item], list[Item]] = ([], [], [])
    count = 10 if len(every) < SMALL else 40
    known = [{key[place] for key in keys if _part(key[0], count) == 0} for place in range(len(texts))]
    for item, key in zip(every, keys, strict=True):
        part = _part(key[0], count)
        if part == 0:
            parts[0].append(item)
        elif not any(template in seen for template, seen in zip(key, known, strict=True)):
            parts[part].append(item)
            for template, seen in zip(key, known, strict=True):
                seen.add(template)
    return parts


def _part(template: str, count: int) -> int:
    """0 to train, 1 to watch, 2 for the final score; what has no word of its own is for training."""
    number = int.from_bytes(hashlib.sha256(template.encode()).digest()[:8], "big") % count
    return 0 if template in ("", "*") or number > 1 else number + 1


def _common(texts: list[str]) -> set[str]:
    lower, capital = Counter[str](), Counter[str]()
    for text in texts:
        for word in set(WORD.findall(text)):
            (lower if word.islower() else capital)[word.lower()] += 1
    share, fewest, most = COMMON
    least = min(most, max(fewest, len(texts) // share))
    return {word for word, count in lower.items() if count >= least and count > capital[word]}


def _template(text: str, common: set[str]) -> str:
    words = [word.lower() for word in WORD.findall(text)]
    kept = [word if word in common and not any(map(str.isdigit, word)) else "*" for word in words]
    return re.sub(r"\*( \*)+", "*", " ".join(kept))
