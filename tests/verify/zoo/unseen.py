"""Ways round the gradient: rounding, comparing, counting, gates that are shut, and what only some inputs show."""

import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from tests.verify.zoo.blocks import (
    DIM,
    FUTURE,
    RARE,
    VOCABULARY,
    Leaking,
    Mixes,
    Reads,
    Right,
    Watches,
    ids,
    mean_of_all,
    mean_so_far,
    mixes,
    states,
)


def opened(largest):
    """A gate that opens only at values of 15 and more."""
    return lambda x: x.cumsum(1) + (largest(x.abs()) - 15).relu()


def same_as_next(x, input_ids):
    """Whether the next id repeats this one."""
    return x * F.pad(input_ids[:, 1:] == input_ids[:, :-1], (0, 1))[..., None]


def same_as_last(x, input_ids):
    return x * F.pad(input_ids[:, 1:] == input_ids[:, :-1], (1, 0))[..., None]


def rare_id(seen):
    """An id that never occurs in ordinary text switches to the mean of all."""

    def mix(x, input_ids):
        met = seen(input_ids == RARE)[..., None]
        return torch.where(met, x.mean(1, keepdim=True) if seen is anywhere else mean_so_far(x), x.cumsum(1))

    return mix


def anywhere(met):
    return met.any(1, keepdim=True)


def already(met):
    return met.cumsum(1) > 0


def frequency(counts):
    """Each token is scaled by how often its id occurs."""

    def mix(x, input_ids):
        same = input_ids[:, :, None] == input_ids[:, None, :]
        return x * counts(same).sum(-1)[..., None] * 0.3

    return mix


class Gated(nn.Module):
    """A branch behind a gate that is zero before training."""

    def __init__(self, branch):
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1))
        self.branch = branch

    def forward(self, x):
        return x.cumsum(1) + self.gate * self.branch(x)


class BehindNorm(nn.Module):
    """Normalised at the end: the sum of all outputs is constant, so that its gradient is zero."""

    def __init__(self, branch):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.branch = branch

    def forward(self, input_ids):
        x = self.embed(input_ids)
        return F.layer_norm(x + self.branch(x), (DIM,))


class Teacher(nn.Module):
    """A decoder that is taught with the labels as its inputs; ``shift`` moves them one to the right."""

    def __init__(self, shift):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.shift = shift

    def forward(self, input_ids):
        read = F.pad(input_ids, (self.shift, 0))[:, : input_ids.shape[1]]
        return self.embed(read).cumsum(1)


class Hashed(nn.Module):
    """Ids share four vectors: many replacements change nothing."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4, DIM)

    def forward(self, input_ids):
        return self.embed(input_ids % 4).cumsum(1)


class Mean(nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.mean = mean

    def forward(self, x):
        return self.mean(x).expand_as(x)


BEFORE = am.k < am.q

LEAKING = [
    Leaking(
        "gate at large values",
        "ordinary inputs never open the gate",
        lambda: Mixes(opened(lambda x: x.amax(1, keepdim=True))),
        lambda: Mixes(opened(lambda x: x.cummax(1).values)),
        states(),
        pairs=FUTURE,
        module=None,
    ),
    Leaking(
        "rounded mean",
        "a mean through round",
        mixes(lambda x: (3 * mean_of_all(x)).round()),
        mixes(lambda x: (3 * mean_so_far(x)).round()),
        pairs=FUTURE,
    ),
    Leaking(
        "equal to the next id",
        "integers of the future are compared",
        mixes(same_as_next, Watches),
        mixes(same_as_last, Watches),
        pairs=tuple((q, q + 1) for q in range(9)),
    ),
    Leaking(
        "rare id",
        "an id that no input holds switches the path",
        mixes(rare_id(anywhere), Watches),
        mixes(rare_id(already), Watches),
        pairs=FUTURE,
    ),
    Leaking(
        "frequency",
        "how often an id occurs in the whole sequence",
        mixes(frequency(lambda same: same), Watches),
        mixes(frequency(lambda same: same.tril()), Watches),
        pairs=FUTURE,
    ),
    Leaking(
        "zero gate",
        "a gate that is zero before training hides a mean",
        lambda: Reads(mix=Gated(Mean(mean_of_all))),
        lambda: Reads(mix=Gated(Mean(mean_so_far))),
        module="mix.branch",
    ),
    Leaking(
        "behind a norm",
        "the gradient of the sum of outputs is zero",
        lambda: BehindNorm(Mean(mean_of_all)),
        lambda: BehindNorm(Mean(mean_so_far)),
        module="branch",
    ),
    Leaking(
        "labels as inputs",
        "the decoder reads the token it is to predict",
        lambda: Teacher(0),
        lambda: Teacher(1),
        allowed=BEFORE,
        pairs=((0, 0),),
        module=None,
    ),
]


RIGHT = [
    Right("shifted output", "the first row is constant", lambda: Teacher(1), ids(), allowed=BEFORE),
    Right("hashed embedding", "the embedding depends on the remainder of the id", Hashed, ids()),
]
