"""The parts that the models of the zoo share, so that each shows its one interesting line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import attnmask as am

VOCABULARY, DIM, HEADS = 13, 14, 2
FUTURE = tuple((q, k) for k in range(12) for q in range(k))  # where each future key can tip the scales
LARGE = {"scenarios": "thorough"}  # larger weights are among the situations that are tried when asked for
RARE = VOCABULARY - 1  # an id that no input of the zoo holds


@dataclass(frozen=True)
class Shown:
    """The situation in which a leak shows.

    Args:
        by: what is changed: forbidden "positions", other rows of the "batch", the total "length", the "pads" (all are
            removed), or the call before this one ("state").
        length: run with the inputs repeated to this length.
        batch: run with this many sequences.
        row: the sequence that is watched.
        training: run in training mode.
        gain: all weights are this much larger.
        before: the same model ran on this many positions before.
        inputs: other named inputs; None takes one away.
    """

    by: str = "positions"
    length: int | None = None
    batch: int | None = None
    row: int = 0
    training: bool = False
    gain: float = 1.0
    before: int | None = None
    inputs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaking:
    """A model that leaks, and the same model repaired.

    Args:
        pairs: the right first pair (query, key); several where more than one answer is right, none where the leak is
            not between two positions of one sequence.
        module: the module that leaks (a part of it is as right); None where there are no modules, or all of them do it.
    """

    name: str
    about: str
    broken: Callable[[], Any]
    repaired: Callable[[], Any]
    inputs: Any = field(default_factory=lambda: ids())
    pairs: tuple[tuple[int, int], ...] = ((0, 1),)
    module: str | None = "mix"
    allowed: Any = field(default_factory=am.causal)
    options: dict[str, Any] = field(default_factory=dict)
    shown: Shown = field(default_factory=Shown)
    rounding: float = 0.0


@dataclass(frozen=True)
class Right:
    """A model that looks suspicious and does not leak; ``rounding``: how far, relatively, a hidden position may move it."""

    name: str
    about: str
    make: Callable[[], Any]
    inputs: Any = field(default_factory=lambda: ids())
    allowed: Any = field(default_factory=am.causal)
    options: dict[str, Any] = field(default_factory=dict)
    rounding: float = 0.0


def ids(length=10, batch=1, seed=1):
    """Token ids without 0 (padding) and without the rare id; none twice while they last."""
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(RARE - 1, generator=generator).repeat(2)[:length] for _ in range(batch)]
    return torch.stack(rows) + 1


def states(length=10, batch=1):
    """Embeddings (batch, length, DIM)."""
    return torch.randn(batch, length, DIM, generator=torch.Generator().manual_seed(2))


def future(length, ahead=1):
    """What is hidden: keys that stand ``ahead`` or more after the query."""
    return torch.ones(length, length, dtype=torch.bool).triu(ahead)


def softmax(scores):
    return scores.softmax(-1)


def causal(scores):
    """Weights of right causal attention."""
    return softmax(scores.masked_fill(future(scores.shape[-1]), -torch.inf))


def seen(mask):
    """Weights under an attnmask mask."""
    return lambda scores: softmax(
        scores.masked_fill(~torch.from_numpy(mask.dense(scores.shape[-1])).to(torch.bool), -torch.inf)
    )


class Attention(nn.Module):
    """Self-attention of two heads; ``weights`` takes scores (batch, heads, q_len, kv_len) to weights."""

    def __init__(self, weights=causal):
        super().__init__()
        self.weights = weights
        self.qkv = nn.Linear(DIM, 3 * DIM)

    def forward(self, x, *more):
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        weights = self.weights(q / q.shape[-1] ** 0.5 @ k.mT, *more)
        return x + (weights @ v).transpose(1, 2).flatten(2)


class Mixes(nn.Module):
    """A function of the states (batch, length, dim) as a module; its other modules are given by name."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x, *more):
        return x + self.function(x, *self.children(), *more)


class Reads(nn.Module):
    """Token ids -> embedding -> each part in turn -> features."""

    def __init__(self, **parts):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.parts = list(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.head = nn.Linear(DIM, DIM)

    def forward(self, input_ids):
        return self.through(self.embed(input_ids))

    def through(self, x, *more):
        for name in self.parts:
            x = getattr(self, name)(x, *more)
        return self.head(x)


class Padded(Reads):
    """Each part is given the states and ``attention_mask`` (1 is a real token, None means all are real)."""

    def forward(self, input_ids, attention_mask=None):
        return self.through(self.embed(input_ids), attention_mask)


class Packed(Reads):
    """Each part is given the states and, per position, its place within its document."""

    def forward(self, input_ids, position_ids):
        return self.through(self.embed(input_ids) + position_ids[..., None] * 0.1, position_ids)


class Watches(Reads):
    """``mix`` is given the states and the ids themselves."""

    def forward(self, input_ids):
        return self.through(self.embed(input_ids), input_ids)


def mixes(function, model=Reads, **parts):
    """What makes a model with one layer, ``function(states, *parts, *more)``; each part is given by what makes it."""
    return lambda: model(mix=Mixes(function, **{name: make() for name, make in parts.items()}))


def attends(weights=causal, model=Reads):
    """What makes a model with one layer of attention."""
    return lambda: model(mix=Attention(weights))


def mean_of_all(x):
    return x.mean(1, keepdim=True)


def mean_so_far(x):
    return x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None].to(x)
