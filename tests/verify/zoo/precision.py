"""Number types: leaks that one type shows and another hides, and right models whose numbers are coarse."""

import torch
from torch import nn
from torch.nn import functional as F

from tests.verify.zoo.blocks import (
    DIM,
    FUTURE,
    HEADS,
    LARGE,
    VOCABULARY,
    Attention,
    Leaking,
    Reads,
    Right,
    Shown,
    attends,
    causal,
    future,
    ids,
    mean_so_far,
    mixes,
    softmax,
    states,
)


def placed(first, integers=False):
    """Causal by comparing places that start at ``first``, in the type of the scores or as integers."""

    def weights(scores):
        places = first + torch.arange(scores.shape[-1])
        places = places if integers else places.to(scores.dtype)
        return softmax(scores.masked_fill(places > places[:, None], -torch.inf))

    return weights


def typed(weights, dtype):
    return lambda: Reads(mix=Attention(weights)).to(dtype)


def quantised(x, scale):
    """Activations as whole numbers of -7 to 7 times a scale."""
    return (x / scale * 7).round() * scale / 7


def scaled(largest):
    return lambda x: quantised(x, largest(x.abs()) + 1e-3).cumsum(1)


def in_half(fill):
    """float32 outside, float16 inside: the fill is added there, to scores that may be as large."""
    return lambda scores: softmax((scores.clamp(-6e4, 6e4).half() + fill * future(scores.shape[-1])).float())


class Quantised(nn.Module):
    """Whole-number weights with one scale per output feature."""

    def __init__(self):
        super().__init__()
        self.register_buffer("whole", torch.randint(-7, 8, (DIM, DIM), dtype=torch.int8))
        self.scale = nn.Parameter(torch.rand(DIM))

    def forward(self, x):
        return mean_so_far(x) @ (self.whole.to(x) * self.scale[:, None]).mT


class Tied(nn.Module):
    """The embedding is also the last layer."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.mix = Attention()
        self.head = nn.Linear(DIM, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids):
        return self.head(self.mix(self.embed(input_ids)))


class Drops(nn.Module):
    """Dropout that is never switched off."""

    def forward(self, x):
        return F.dropout(mean_so_far(x), 0.3, training=True)


class Noisy(nn.Module):
    """Noise from a generator that starts anew in each call, or from the global one."""

    def __init__(self, own):
        super().__init__()
        self.own = own

    def forward(self, x):
        generator = torch.Generator().manual_seed(5) if self.own else None
        return mean_so_far(x) + torch.randn(64, DIM, generator=generator)[: x.shape[1]]


class Sink(nn.Module):
    """A learned score that takes part in each softmax and has no value."""

    def __init__(self):
        super().__init__()
        self.sink = nn.Parameter(torch.zeros(HEADS, 1, 1))
        self.attention = Attention(self.weights)

    def weights(self, scores):
        hidden = scores.masked_fill(future(scores.shape[-1]), -torch.inf)
        sinks = self.sink.expand(len(scores), -1, scores.shape[2], -1)
        return softmax(torch.cat([hidden, sinks], -1))[..., :-1]

    def forward(self, x):
        return self.attention(x)


class Outputs(nn.Module):
    """Embeddings in, a dict out."""

    def __init__(self):
        super().__init__()
        self.mix = Attention()

    def forward(self, inputs_embeds):
        return {"loss": None, "logits": self.mix(inputs_embeds)}


def alibi(scores):
    """The score falls with the distance, at a slope of each head's own."""
    places = torch.arange(scores.shape[-1])
    distance = (places[:, None] - places).to(scores)
    return causal(scores - distance * torch.tensor([0.5, 0.25])[:, None, None].to(scores))


HALF = typed(causal, torch.float16)

LEAKING = [
    Leaking(
        "places in float16",
        "from 2048 on two places are one number, in float16 only",
        typed(placed(2048), torch.float16),
        typed(placed(2048, True), torch.float16),
    ),
    Leaking(
        "places in bfloat16",
        "from 256 on two places are one number, in bfloat16 only",
        typed(placed(256), torch.bfloat16),
        typed(placed(256, True), torch.bfloat16),
    ),
    Leaking(
        "places in float32",
        "from 2**24 on two places are one number, in float32 only",
        attends(placed(2**24)),
        attends(placed(2**24, True)),
    ),
    Leaking(
        "fill in float16",
        "-1e4 in float16, which large weights overcome",
        attends(in_half(-1e4)),
        attends(causal),
        shown=Shown(gain=10.0),
        pairs=FUTURE,
        options=LARGE,
    ),
    Leaking(
        "one scale for the sequence",
        "quantised with the largest value of all positions",
        mixes(scaled(lambda x: x.amax(1, keepdim=True))),
        mixes(scaled(lambda x: x.amax(-1, keepdim=True))),
        pairs=FUTURE,
    ),
]

RIGHT = [
    Right("float16", "attention in half precision", HALF, ids()),
    Right("bfloat16", "attention in bfloat16", typed(causal, torch.bfloat16), ids()),
    Right("float64", "attention in double precision", typed(causal, torch.float64), ids()),
    Right("quantised weights", "whole numbers and scales", lambda: Reads(mix=Quantised()), ids()),
    Right("quantised activations", "a scale for each token", mixes(scaled(lambda x: x.amax(-1, keepdim=True))), ids()),
    Right("tied weights", "the embedding is the last layer too", Tied, ids()),
    Right("dropout always on", "dropped in evaluation too", lambda: Reads(mix=Drops()), ids()),
    Right("noise of its own", "the same noise in each call", lambda: Reads(mix=Noisy(True)), ids()),
    Right("noise", "other noise in each call", lambda: Reads(mix=Noisy(False)), ids()),
    Right("learned sink", "a score without a value", lambda: Reads(mix=Sink()), ids()),
    Right("ALiBi", "a bias by distance", attends(alibi), ids()),
    Right(
        "dict of outputs",
        "embeddings in, a dict out",
        Outputs,
        states(),
        options={"output": lambda result: result["logits"]},
    ),
]
