"""Recall over a long context: blocks chosen by content find what a local window of the same cost cannot reach.

    python -m attnmask.recipes.recall

A sequence lists pairs of a key and its value, then asks for the values of keys in any order ("multi-query associative
recall", Arora et al. 2023, "Zoology"): k3 v7  k9 v1 ...  k9 -> v1  k3 -> v7 .... In the first layer each token sees the one
before it, so that values know their keys. In the second a key that is asked for must find its value, far away:

    top_k_blocks(k, size)    sees the k blocks of so many keys that score highest: k * size keys
    window(k * size - 1)     sees the k * size keys next to it
    causal()                 sees all, at many times the cost
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from attnmask.model.transformer import Config
from attnmask.recipes.stack import Stack

CONFIG = Config(vocabulary=0, dim=64, heads=4, kv_heads=4, hidden=64, dropout=0.0)
BLOCKS, SIZE = 4, 4
MASKS: dict[str, am.Mask | am.Selection] = {
    "blocks": am.causal() & am.top_k_blocks(BLOCKS, SIZE),
    "window": am.window(BLOCKS * SIZE - 1),
    "all": am.causal(),
}
STEPS, BATCH, RATE = 400, 12, 5e-3


class Task(NamedTuple):
    """The sizes of a sequence.

    Attributes:
        pairs: keys with their values; no key comes twice.
        asked: of them, how many are asked for.
        keys: keys there are.
        values: values there are.
    """

    pairs: int = 40
    asked: int = 40
    keys: int = 40
    values: int = 8

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return 2 * (self.pairs + self.asked)

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Sequences (count, length), in which values stand behind the keys; and the values asked for (count, asked).

        >>> tokens, answers = Task(pairs=2, asked=1, keys=3, values=4).draw(5, torch.Generator().manual_seed(0))
        >>> tokens.shape, answers.shape, bool((tokens[:, -1] - 3 == answers[:, 0]).all())
        (torch.Size([5, 6]), torch.Size([5, 1]), True)
        """
        keys = _shuffled(count, self.keys, generator)[:, : self.pairs]
        values = torch.randint(self.values, (count, self.pairs), generator=generator)
        asked = _shuffled(count, self.pairs, generator)[:, : self.asked]
        answers = values.gather(1, asked)
        listed = torch.stack([keys, self.keys + values], dim=2).flatten(1)
        questions = torch.stack([keys.gather(1, asked), self.keys + answers], dim=2).flatten(1)
        return torch.cat([listed, questions], dim=1), answers


class Model(nn.Module):  # type: ignore[misc]
    """Two layers: the token before, then what the mask under test shows."""

    def __init__(self, task: Task, mask: am.Mask | am.Selection) -> None:
        super().__init__()
        self.task, self.masks = task, (am.window(1), mask)
        self.embedding = nn.Embedding(task.keys + task.values, CONFIG.dim)
        self.stack = Stack(CONFIG, layers=2)
        self.values = nn.Linear(CONFIG.dim, task.values)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores (batch, length, values) of the value after each token."""
        result: torch.Tensor = self.values(self.stack(self.embedding(tokens), self.masks))
        return result

    def answers(self, tokens: torch.Tensor) -> torch.Tensor:
        """The scores at the keys that are asked for (batch, asked, values)."""
        result: torch.Tensor = self(tokens)[:, 2 * self.task.pairs :: 2]
        return result


def train(task: Task, mask: am.Mask | am.Selection, *, steps: int = STEPS, rate: float = RATE, seed: int = 0) -> Model:
    """A model after so many batches of fresh sequences."""
    torch.manual_seed(seed)
    model = Model(task, mask)
    chance = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    falling = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for _ in range(steps):
        tokens, answers = task.draw(BATCH, chance)
        optimizer.zero_grad()
        F.cross_entropy(model.answers(tokens).flatten(0, 1), answers.flatten()).backward()
        optimizer.step()
        falling.step()
    model.eval()
    return model


@torch.no_grad()  # type: ignore[untyped-decorator]
def accuracy(model: Model, *, seed: int = 1_000_000) -> float:
    """The share of values that are found in sequences that training has not drawn."""
    tokens, answers = model.task.draw(4 * BATCH, torch.Generator().manual_seed(seed))
    return float((model.answers(tokens).argmax(-1) == answers).double().mean())


def main() -> None:
    """Print the accuracy under each mask."""
    task = Task()
    print(f"{task.pairs} pairs, {task.asked} questions, {task.length} tokens; chance {1 / task.values:.1%}")
    for name in ("blocks", "window"):
        print(f"  {MASKS[name]!r:40} {accuracy(train(task, MASKS[name])):6.1%}", flush=True)


def _shuffled(count: int, most: int, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(count, most, generator=generator).argsort(dim=1)


if __name__ == "__main__":
    main()
