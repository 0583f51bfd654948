"""Machine translation: an encoder-decoder, scored by BLEU on texts whose templates it has not seen.

attnmask train translate --out runs/translate                                     Django's messages, a minute
attnmask train translate --data debian:it --minutes 60 --out runs/debian-it       Debian's package descriptions
accelerate launch -m attnmask.recipes.translate --data debian:it --out runs/it    several devices, FSDP as it is set up
ACCELERATE_USE_CPU=1 torchrun --nproc-per-node 2 -m attnmask.recipes.translate --out runs/two    several processes
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sacrebleu

from attnmask.model.transformer import Transformer
from attnmask.recipes import pairs
from attnmask.recipes.data import debian, django, files
from attnmask.recipes.neighbours import nearest
from attnmask.recipes.pairs import Pair

SOURCES = {"debian": debian.pairs, "django": django.pairs}

FAR = 0.5  # the likeness below which no known text is near

answer = pairs.answer


def recipe(data: str | None, folder: Path) -> Translate:
    """Translation of ``debian:LANGUAGE``, ``django:LANGUAGE`` (django:it if None), or a file of (source, target)."""
    name, _, language = (data or "django:it").partition(":")
    found = SOURCES[name](language or "it") if name in SOURCES else files.read(str(data), ("source", "target"))
    return Translate([(source, target) for source, target in found], folder)


class Translate(pairs.Writing):
    """Pairs of texts, split by template; the model; BLEU."""

    measure = "bleu"

    def __init__(self, found: list[Pair], folder: Path) -> None:
        super().__init__(found, folder, decides=0, noun="pairs")

    def score(self, model: Transformer, limit: int | None = None) -> dict[str, float]:
        """BLEU; a thorough look takes beams, and baselines beside: the source, words of a dictionary, and memory."""
        chosen = self.final[:limit]
        sources, references = [source for source, _ in chosen], [target for _, target in chosen]
        written = pairs.write(model, self.tokenizer, sources, beams=1 if limit else 4)
        found = {"bleu": bleu(written, references)}
        if not limit:
            found["bleu_copy"] = bleu(sources, references)
            found["bleu_dictionary"] = bleu(word_by_word(dictionary(self.pairs), sources), references)
            found |= self._beside_memory(written, chosen)
            found["texts"] = len(chosen)
        return found

    def _beside_memory(self, written: list[str], chosen: list[Pair]) -> dict[str, float]:
        """BLEU of the translation of the nearest source; and of ours, on texts that no source is half alike."""
        neighbours = nearest([source for source, _ in self.pairs], [source for source, _ in chosen])
        found = {"bleu_nearest": bleu([self.pairs[one.place][1] for one in neighbours], [right for _, right in chosen])}
        far = [place for place, one in enumerate(neighbours) if one.likeness < FAR]
        if far:
            found["bleu_far"] = bleu([written[place] for place in far], [chosen[place][1] for place in far])
        return found | {"texts_far": len(far)}

    def probe(self) -> dict[str, Any]:
        """The start of a held-out pair."""
        return pairs.probe(max(self.held_out, key=lambda example: min(len(example.source), len(example.target))))


def bleu(written: Sequence[str], references: Sequence[str]) -> float:
    """BLEU as sacrebleu counts it.

    >>> bleu(["the mask hides the future"], ["the mask hides the future"])
    100.0
    """
    return round(float(sacrebleu.corpus_bleu(list(written), [list(references)]).score), 2)


def dictionary(known: Sequence[Pair], longest: int = 12) -> dict[str, str]:
    """For each word the one that stands most often in the translations of its texts (Dice's coefficient).

    >>> dictionary([("red house", "casa rossa"), ("red car", "auto rossa"), ("a house", "una casa")])["house"]
    'casa'
    """
    both, left, right = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
    for source, target in known:
        ours, theirs = set(source.split()), set(target.split())
        if max(len(ours), len(theirs)) <= longest:
            left.update(ours)
            right.update(theirs)
            both.update((one, two) for one in ours for two in theirs)
    best: dict[str, tuple[float, str]] = {}
    for (one, two), count in both.items():
        best[one] = max(best.get(one, (0.0, "")), (2 * count / (left[one] + right[two]), two))
    return {one: two for one, (_, two) in best.items()}


def word_by_word(known: dict[str, str], texts: Sequence[str]) -> list[str]:
    """Texts with each word looked up; a word that is not known stays."""
    return [" ".join(known.get(word, word) for word in line.split()) for line in texts]


if __name__ == "__main__":
    from attnmask.recipes.command import main

    main("translate")
