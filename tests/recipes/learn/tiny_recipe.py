"""A recipe small enough for tests: numbers in words from digits, without tokenizer and files."""

import random
from dataclasses import replace
from pathlib import Path

import torch

from attnmask.model.generate import generate
from attnmask.model.transformer import Config
from attnmask.recipes import Example, Settings

BEGIN, END = 1, 2


def reversed_digits(count=300, seed=0):
    """A source of 2 to 9 tokens, and the target: the same backwards."""
    chance = random.Random(seed)
    sources = [[chance.randrange(4, 14) for _ in range(chance.randrange(2, 10))] for _ in range(count)]
    return [Example([BEGIN, *source[::-1], END], [*source, END]) for source in sources]


class Tiny:
    """The Recipe protocol in as few lines as it takes."""

    measure = "exact"

    def __init__(self, **changes):
        self.config = Config(
            vocabulary=14, dim=32, heads=2, kv_heads=1, encoder_layers=1, decoder_layers=1, hidden=64, dropout=0.1
        )
        self.settings = replace(
            Settings(steps=6, rate=3e-3, warm_up=3, tokens=400, evaluate_every=3, watched=20), **changes
        )
        self.train, self.held_out = reversed_digits(), reversed_digits(40, seed=1)

    def save(self, folder: Path):
        (folder / "saved").touch()

    def score(self, model, limit=None):
        chosen = self.held_out[:limit]
        found = generate(model, [[BEGIN]] * len(chosen), [e.source for e in chosen], most=12, end=END)
        right = [[BEGIN, *tokens, END] == e.target for tokens, e in zip(found, chosen, strict=True)]
        return {"exact": 100 * sum(right) / len(right)}

    def samples(self, model, count):
        return f"{count} samples"

    def probe(self):
        return {"target": torch.tensor([[1, 5, 6, 7, 8]]), "source": torch.tensor([[8, 7, 6, 5]])}
