"""Summarisation: the one line that says what a package is, from its description; scored by ROUGE-L.

attnmask train summarize --minutes 30 --out runs/summarize
attnmask train summarize --data mine.jsonl --out runs/mine        lines of {"text": ..., "summary": ...}
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from attnmask.model.transformer import Transformer
from attnmask.recipes import Example, pairs
from attnmask.recipes.data import debian, files
from attnmask.recipes.pairs import Pair
from attnmask.recipes.text import END

WORDS = (20, 200)  # of a text worth a summary
READ = 80  # words of it that are read: what a package is stands at the beginning
ECHO = (6, 24)  # tokens of a stretch that is said again
BOILERPLATE = 10  # a paragraph of so many packages says nothing about one of them
LEAD = 6  # words of the baseline: as many as a synopsis has in the median


def answer(model: Transformer, folder: Path, source: str) -> str:
    """The summary of a text of any number of lines."""
    return pairs.answer(model, folder, " ".join(source.split()))


def recipe(data: str | None, folder: Path) -> Summarize:
    """Summaries of ``debian`` (or None) or of a file of (text, summary)."""
    if data in (None, "debian"):
        return Summarize(of_packages(list(debian.descriptions("it").values())), folder)
    return Summarize([(one, two) for one, two in files.read(str(data), ("text", "summary"))], folder)


def of_packages(descriptions: Sequence[debian.Description]) -> list[Pair]:
    """The start of the description and the synopsis of each package, without the paragraphs that many packages have."""
    frequent = Counter(paragraph for each in descriptions for paragraph in set(each.paragraphs))
    found: dict[Pair, None] = {}  # a set that keeps the order
    for synopsis, paragraphs in descriptions:
        words = " ".join(paragraph for paragraph in paragraphs if frequent[paragraph] < BOILERPLATE).split()
        if WORDS[0] <= len(words) <= WORDS[1]:
            found[" ".join(words[:READ]), synopsis] = None
    return list(found)


class Summarize(pairs.Writing):
    """Texts and summaries, split by the templates of both; the model; ROUGE-L."""

    measure = "rouge_l"

    def __init__(self, found: list[Pair], folder: Path) -> None:
        super().__init__(found, folder, decides=1, noun="texts")
        self.train = self.train + echoes(self.train)

    def score(self, model: Transformer, limit: int | None = None) -> dict[str, float]:
        """ROUGE-L; a thorough look takes beams, and says how far above the baseline it is, and how surely."""
        chosen = self.final[:limit]
        texts, summaries = [body for body, _ in chosen], [synopsis for _, synopsis in chosen]
        ours = rouge_l(pairs.write(model, self.tokenizer, texts, beams=1 if limit else 4), summaries)
        found = {"rouge_l": round(float(ours.mean()), 2)}
        if not limit:
            lead = rouge_l([first_words(body) for body in texts], summaries)
            low, high = bootstrap(ours - lead)
            found |= {"rouge_l_first_words": round(float(lead.mean()), 2), "margin_low": low, "margin_high": high}
            found["texts"] = len(chosen)
        return found

    def probe(self) -> dict[str, Any]:
        """The start of a held-out pair."""
        return pairs.probe(max(self.held_out, key=lambda example: len(example.target)))


def echoes(known: Sequence[Example], seed: int = 0) -> list[Example]:
    """A stretch of each source, to be said again; its first token tells it from a summary.

    A summary is a few words for many that are read, too few to teach cross-attention where a word stands. Saying again does,
    in a fraction of the time, and a summary then chooses among what can be found (as denoising does in Lewis et al. 2019).

    >>> (echo,) = echoes([Example([1, 9, END], [*range(10, 90), END])])
    >>> echo.target[0] == END and echo.target[1:] == echo.source
    True
    """
    chance = random.Random(seed)
    found = []
    for one in known:
        words, length = one.source[:-1], chance.randint(*ECHO)
        start = chance.randrange(max(1, len(words) - length))
        stretch = [*words[start : start + length], END]
        found.append(Example([END, *stretch], stretch))
    return found


def rouge_l(written: Sequence[str], references: Sequence[str]) -> Any:
    """ROUGE-L (F) of each text, from 0 to 100, as rouge-score counts it.

    >>> rouge_l(["tools for masks"], ["masks and tools for masks"]).round(0)
    array([75.])
    """
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    scores = [scorer.score(right, left)["rougeL"].fmeasure for left, right in zip(written, references, strict=True)]
    return 100 * np.array(scores)


def first_words(body: str) -> str:
    """The baseline: how a description begins.

    >>> first_words("This package contains the tools of the project.")
    'This package contains the tools of'
    """
    return " ".join(body.split()[:LEAD])


def bootstrap(differences: Any, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """The middle 95 % of the mean difference over texts drawn again with replacement (Koehn 2004).

    >>> bootstrap(np.full(20, 3.0))
    (3.0, 3.0)
    """
    chance = np.random.default_rng(seed)
    means = differences[chance.integers(len(differences), size=(draws, len(differences)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(low), 2), round(float(high), 2)


if __name__ == "__main__":
    from attnmask.recipes.command import main

    main("summarize")
