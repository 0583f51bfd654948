"""Examples in batches: a seeded order, a budget of tokens, sequences packed into one row or padded into many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any, NamedTuple

import torch

from attnmask.errors import InputError
from attnmask.recipes import Example

NOT_LEARNED = -100  # the label of tokens that are given, and of padding


class Batch(NamedTuple):
    """Arguments of a model, and what it should say.

    Attributes:
        target: token ids (rows, length).
        labels: the token after each (rows, length), or NOT_LEARNED.
        lengths: real tokens of each sequence.
        source: token ids for the encoder (rows, length), or None.
        source_lengths: real tokens of each source, or None.
        turns: the turn of each target token (rows, length), or None.
    """

    target: torch.Tensor
    labels: torch.Tensor
    lengths: list[int]
    source: torch.Tensor | None
    source_lengths: list[int] | None
    turns: torch.Tensor | None = None

    def to(self, device: Any) -> Batch:
        """The same on a device."""
        source = None if self.source is None else self.source.to(device)
        return self._replace(target=self.target.to(device), labels=self.labels.to(device), source=source)

    @property
    def learned(self) -> int:
        """Labels that are learned."""
        return int((self.labels != NOT_LEARNED).sum())


def groups(sizes: Sequence[int], budget: int, order: Iterable[int]) -> Iterator[list[int]]:
    """Examples in order, as many at a time as a budget of tokens allows, and always one.

    >>> list(groups([3, 4, 2, 9, 1], 7, order=[0, 1, 2, 3, 4]))
    [[0, 1], [2], [3], [4]]
    """
    group: list[int] = []
    used = 0
    for index in order:
        if group and used + sizes[index] > budget:
            yield group
            group, used = [], 0
        group.append(index)
        used += sizes[index]
    if group:
        yield group


def rounds(sizes: Sequence[int], budget: int, seed: int, processes: int = 1) -> Iterator[list[list[int]]]:
    """Without end, one group for each process: every epoch in another order, which its number and the seed decide.

    Args:
        sizes: tokens of each example.
        budget: tokens of a group.
        seed: of the order.
        processes: groups at a time; what is left of an epoch is dropped.

    Raises:
        InputError: an epoch has fewer groups than there are processes.
    """
    for epoch in count():
        chance = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        found = list(groups(sizes, budget, torch.randperm(len(sizes), generator=chance).tolist()))
        if len(found) < processes:
            raise InputError(
                "an epoch has a batch for each process",
                f"{len(found)} batches of {budget} tokens for {processes} processes",
                "Take smaller batches: --tokens",
            )
        for start in range(0, len(found) - processes + 1, processes):
            yield found[start : start + processes]


def batch(examples: Sequence[Example], *, padded: bool = False) -> Batch:
    """Examples as the arguments of a model: one behind the other in one row, or padded to the longest.

    Sequences of one length stand side by side, so that attention takes them in one call.

    >>> batch([Example([1, 7, 2], [5]), Example([1, 2], [6, 4])])
    Batch(target=tensor([[1, 7, 1]]), labels=tensor([[7, 2, 2]]), lengths=[2, 1], source=tensor([[5, 6, 4]]), source_lengths=[1, 2], turns=None)
    >>> batch([Example([1, 7, 2]), Example([1, 2])], padded=True)
    Batch(target=tensor([[1, 0],
            [1, 7]]), labels=tensor([[   2, -100],
            [   7,    2]]), lengths=[1, 2], source=None, source_lengths=None, turns=None)
    """
    place = _padded if padded else _packed
    examples = sorted(examples, key=lambda example: (len(example.source), len(example.target)))
    inputs = [example.target[:-1] for example in examples]
    labels = [[NOT_LEARNED] * (e.given - 1) + e.target[e.given :] for e in examples]
    sources = [example.source for example in examples]
    lengths = [len(row) for row in inputs]
    target, wanted = place(inputs, 0), place(labels, NOT_LEARNED)
    turns = [example.turns[:-1] for example in examples]
    found = Batch(target, wanted, lengths, None, None, place(turns, 0) if any(turns) else None)
    if not any(sources):
        return found
    return found._replace(source=place(sources, 0), source_lengths=[len(row) for row in sources])


def _packed(rows: list[list[int]], fill: int) -> torch.Tensor:
    return torch.tensor([[token for row in rows for token in row]])


def _padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])
