"""What recipes share that write one text from another: tokens, examples, an encoder-decoder, and its answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from attnmask.errors import InputError
from attnmask.model.generate import generate
from attnmask.model.transformer import Config, Transformer
from attnmask.recipes import Example, Settings, text
from attnmask.recipes.data.split import split
from attnmask.recipes.text import BEGIN, END

Pair = tuple[str, str]

ROWS = 64  # texts that are written at once
LARGE = 20_000  # pairs, from which on a larger model is worth its time


class Writing:
    """What such recipes have in common: pairs of texts, split by the templates of both; tokens, examples and a model.

    Args:
        found: the pairs.
        folder: where the tokenizer of an earlier start may lie.
        decides: the side, 0 or 1, whose template decides where a pair belongs.
        noun: what the user calls the pairs.
    """

    def __init__(self, found: list[Pair], folder: Path, *, decides: int, noun: str) -> None:
        sides = (decides, 1 - decides)
        self.pairs, watched, self.final = split(found, *(lambda pair, side=side: pair[side] for side in sides))
        if not watched or not self.final:
            raise InputError(
                "some templates are held out", f"{len(found)} {noun}, too few", "Give a few hundred or more"
            )
        self.tokenizer = text.learn_or_load(folder, (side for pair in self.pairs for side in pair))
        self.train = examples(self.tokenizer, self.pairs)
        self.held_out = examples(self.tokenizer, watched)
        self.config = config(self.tokenizer, len(self.pairs))
        large = len(self.pairs) >= LARGE
        self.settings = Settings(steps=600, rate=2.5e-3 if large else 2e-3, warm_up=300 if large else 100)

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        text.save(self.tokenizer, folder)

    def samples(self, model: Transformer, count: int) -> str:
        """Some held-out texts, their references, and what the model writes."""
        chosen = self.final[:count]
        written = write(model, self.tokenizer, [source for source, _ in chosen], beams=4)
        return shown([(*pair, line) for pair, line in zip(chosen, written, strict=True)])


def examples(tokenizer: Tokenizer, pairs: Sequence[Pair], longest: int = 256) -> list[Example]:
    """Pairs as sequences: the source and its end; begin, the target and its end. Longer ones are cut to ``longest``."""
    sources = text.encode(tokenizer, [source for source, _ in pairs])
    targets = text.encode(tokenizer, [target for _, target in pairs])
    return [
        Example([BEGIN, *target[: longest - 2], END], [*source[: longest - 1], END])
        for source, target in zip(sources, targets, strict=True)
    ]


def config(tokenizer: Tokenizer, pairs: int, **changes: Any) -> Config:
    """An encoder-decoder of a size that suits the number of pairs."""
    sizes: dict[str, Any] = {
        "dim": 128,
        "heads": 4,
        "kv_heads": 2,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "hidden": 384,
    }
    if pairs >= LARGE:
        sizes = {"dim": 256, "heads": 8, "kv_heads": 4, "encoder_layers": 4, "decoder_layers": 3, "hidden": 768}
        sizes["dropout"] = 0.0  # in an hour each pair is seen a few times only
    return Config(vocabulary=tokenizer.get_vocab_size(), **(sizes | changes))


def write(model: Transformer, tokenizer: Tokenizer, sources: Sequence[str], *, beams: int = 1) -> list[str]:
    """The text that a model writes for each source; texts of similar length are written at once."""
    rows = [[*row[:255], END] for row in text.encode(tokenizer, list(sources))]
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    written = [""] * len(rows)
    for start in range(0, len(order), ROWS):
        places = order[start : start + ROWS]
        given = [rows[place] for place in places]
        most = 2 * len(given[-1]) + 10  # a translation is seldom twice as long
        tokens = generate(model, [[BEGIN]] * len(given), given, most=most, end=END, beams=beams)
        for place, found in zip(places, text.decode(tokenizer, tokens), strict=True):
            written[place] = found
    return written


def answer(model: Transformer, folder: Path, source: str, *, beams: int = 4) -> str:
    """What ``attnmask generate`` prints for a text: one line for each of its lines.

    Raises:
        InputError: there is no text.
    """
    if not source.strip():
        raise InputError("this recipe answers to a text", repr(source), "Run: attnmask generate DIR TEXT")
    return "\n".join(write(model, text.load(folder), source.splitlines(), beams=beams))


def probe(example: Example, longest: int = 12) -> dict[str, Any]:
    """The start of an example as arguments of a model, for ``am.check``."""
    return {"target": torch.tensor([example.target[:longest]]), "source": torch.tensor([example.source[:longest]])}


def shown(rows: Sequence[tuple[str, str, str]]) -> str:
    """Source, reference and what the model wrote, one under the other."""
    names = ("source", "reference", "model")
    return "\n\n".join("\n".join(f"{name:9}  {value}" for name, value in zip(names, row, strict=True)) for row in rows)
