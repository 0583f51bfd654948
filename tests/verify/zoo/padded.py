"""Padding that is seen, other rows of the batch that are seen, and encoders that see what they must not."""

import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from tests.verify.zoo.blocks import (
    DIM,
    VOCABULARY,
    Attention,
    Leaking,
    Padded,
    Reads,
    Right,
    Shown,
    attends,
    future,
    ids,
    mixes,
    softmax,
    states,
)


def real(x, mask):
    """The padding mask as numbers (batch, length, 1); without one all are real."""
    return torch.ones_like(x[..., :1]) if mask is None else mask[..., None].to(x)


def hides_keys(scores, mask):
    return softmax(scores if mask is None else scores.masked_fill(mask[:, None, None] == 0, -torch.inf))


def hides_queries(scores, mask):
    """The padding mask lies along the queries."""
    return softmax(scores if mask is None else scores.masked_fill(mask[:, None, :, None] == 0, -1e4))


def hides_real_keys(scores, mask):
    return softmax(scores if mask is None else scores.masked_fill(mask[:, None, None] == 1, -1e4))


def adds_mask(scores, mask):
    """A mask of 0 and 1 is added to the scores."""
    return softmax(scores if mask is None else scores + mask[:, None, None])


def first_row_hides(scores, mask):
    """The mask of the first sequence serves the whole batch."""
    return hides_keys(scores, mask if mask is None else mask[:1])


def unmasked(scores, mask):
    return softmax(scores)


def convolved(clean):
    """A convolution whose window reaches into the padding."""

    def mix(x, conv, mask):
        return conv((x * real(x, mask) if clean else x).mT).mT

    return mix


def pooled(content, count):
    """The mean of the sequence, of pads too (content), or divided by their number too (count)."""

    def mix(x, mask):
        valid = real(x, mask)
        total = (x if content else x * valid).sum(1, keepdim=True)
        return (total / (x.shape[1] if count else valid.sum(1, keepdim=True))).expand_as(x)

    return mix


def normalised(clean):
    """Each channel is centred over time, over the pads too or not."""

    def mix(x, mask):
        valid = real(x, mask) if clean else torch.ones_like(x[..., :1])
        mean = (x * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)
        spread = ((x - mean).square() * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True)
        return (x - mean) / (spread + 1e-3).sqrt()

    return mix


def placed(by_mask):
    """Sinusoids of positions that are counted from the first token, or from the first real one."""

    def mix(x, mask):
        valid = real(x, mask)
        places = valid.cumsum(1) - 1 if by_mask else torch.arange(x.shape[1])[None, :, None]
        return (places * torch.ones(DIM)).sin() * 3

    return mix


def summed(clean):
    """A state that pads on the left go into, or not."""
    return lambda x, mask: (x * real(x, mask) if clean else x).cumsum(1)


class States(nn.Module):
    """Embeddings with a padding mask, under names of their own."""

    def __init__(self, weights):
        super().__init__()
        self.mix = Attention(weights)

    def forward(self, states, attention_mask=None):
        return self.mix(states, attention_mask)


def shifted(flat):
    """Each token is given the one before, in its sequence or in the flattened batch."""
    return lambda x: F.pad(x.flatten(0, 1) if flat else x, (0, 0, 1, 0))[..., :-1, :].reshape(x.shape)


class Translates(nn.Module):
    """An encoder and a decoder with cross-attention; ``honours`` the padding, ``peeks`` at the decoder's inputs."""

    def __init__(self, honours=True, peeks=False):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.encoder = Attention(hides_keys)
        self.cross = nn.Linear(DIM, DIM)
        self.honours, self.peeks = honours, peeks

    def forward(self, input_ids, decoder_input_ids, attention_mask=None):
        target = self.embed(decoder_input_ids)
        source = self.embed(input_ids) + (target.mean(1, keepdim=True) if self.peeks else 0)
        source = self.encoder(source, attention_mask)
        scores = self.cross(target) @ source.mT
        if self.honours and attention_mask is not None:
            scores = scores.masked_fill(attention_mask[:, None] == 0, -torch.inf)
        return target + softmax(scores) @ source


class OtherAxis(nn.Module):
    """PyTorch's attention wants (length, batch, dim) unless told otherwise."""

    def __init__(self, batch_first):
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, 2, batch_first=batch_first)

    def forward(self, x):
        size = x.shape[1 if self.attention.batch_first else 0]
        return x + self.attention(x, x, x, attn_mask=future(size), need_weights=False)[0]


class Standardised(nn.Module):
    """Centred and scaled along one axis, in training only."""

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def forward(self, x):
        if not self.training:
            return x
        return (x - x.mean(self.axis, keepdim=True)) / (x.var(self.axis, correction=0, keepdim=True) + 1e-3).sqrt()


def padded(valid, batch=1):
    rows = torch.tensor([valid])
    return {"input_ids": ids(rows.shape[1], batch), "attention_mask": rows.repeat(batch, 1)}


RIGHT_PADS, LEFT_PADS = padded([1] * 7 + [0] * 3), padded([0] * 3 + [1] * 7)
RAGGED = {"input_ids": ids(10, 2), "attention_mask": torch.tensor([[1] * 10, [1] * 7 + [0] * 3])}
TRANSLATION = {
    "input_ids": ids(9),
    "decoder_input_ids": ids(5, seed=3),
    "attention_mask": torch.tensor([[1] * 6 + [0] * 3]),
}
ALL = am.everything()
CLEAN_CONV = mixes(convolved(True), Padded, conv=lambda: nn.Conv1d(DIM, DIM, 3, padding=1))
BY_PADS, BY_BATCH = Shown(by="pads"), Shown(by="batch")


def entry(name, about, broken, repaired, inputs=RIGHT_PADS, allowed=ALL, pairs=((0, 7),), **more):
    return Leaking(name, about, broken, repaired, inputs, allowed=allowed, pairs=pairs, **more)


def of_batch(name, about, broken, repaired, **more):
    return Leaking(name, about, broken, repaired, ids(10, 2), pairs=(), shown=Shown(by="batch", **more))


LEAKING = [
    entry("pads on the right attended", "no padding mask", attends(unmasked, Padded), attends(hides_keys, Padded)),
    entry(
        "pads on the left attended",
        "no padding mask",
        attends(unmasked, Padded),
        attends(hides_keys, Padded),
        LEFT_PADS,
        pairs=((3, 0),),
    ),
    entry(
        "pads attended in states",
        "no padding mask, and no input by a usual name",
        lambda: States(unmasked),
        lambda: States(hides_keys),
        {"states": states(), "attention_mask": RIGHT_PADS["attention_mask"]},
    ),
    entry(
        "padding mask of queries",
        "the padding mask lies along the wrong axis",
        attends(hides_queries, Padded),
        attends(hides_keys, Padded),
    ),
    entry(
        "padding mask inverted", "only pads are attended", attends(hides_real_keys, Padded), attends(hides_keys, Padded)
    ),
    entry(
        "padding mask added",
        "zeros and ones are added to the scores",
        attends(adds_mask, Padded),
        attends(hides_keys, Padded),
    ),
    entry(
        "padding mask of the first row",
        "one mask for the whole batch",
        attends(first_row_hides, Padded),
        attends(hides_keys, Padded),
        RAGGED,
        shown=Shown(row=1, batch=2),
    ),
    entry(
        "convolution into pads",
        "the window of the last real token holds a pad",
        mixes(convolved(False), Padded, conv=lambda: nn.Conv1d(DIM, DIM, 3, padding=1)),
        CLEAN_CONV,
        pairs=((6, 7),),
    ),
    entry(
        "mean with pads",
        "pads are part of the mean",
        mixes(pooled(True, True), Padded),
        mixes(pooled(False, False), Padded),
    ),
    entry(
        "mean over the padded length",
        "zeroed pads are still counted",
        mixes(pooled(False, True), Padded),
        mixes(pooled(False, False), Padded),
        pairs=(),
        shown=BY_PADS,
    ),
    entry(
        "norm with pads",
        "pads are part of the statistics over time",
        mixes(normalised(False), Padded),
        mixes(normalised(True), Padded),
    ),
    entry(
        "positions count left pads",
        "left padding moves all positions",
        mixes(placed(False), Padded),
        mixes(placed(True), Padded),
        LEFT_PADS,
        am.causal(),
        pairs=(),
        shown=BY_PADS,
    ),
    entry(
        "state through left pads",
        "a recurrence starts with the pads",
        mixes(summed(False), Padded),
        mixes(summed(True), Padded),
        LEFT_PADS,
        am.causal(),
        pairs=((3, 0),),
    ),
    entry(
        "padding of the source",
        "cross-attention sees the pads of the source",
        lambda: Translates(honours=False),
        Translates,
        TRANSLATION,
        pairs=((0, 6),),
        module=None,
        options={"vary": "input_ids"},
    ),
    entry(
        "encoder sees the decoder",
        "the target's mean goes into the source",
        lambda: Translates(peeks=True),
        Translates,
        TRANSLATION,
        am.causal(),
        pairs=((0, 1),),
        module=None,
    ),
    of_batch(
        "batch norm over the batch",
        "statistics of the batch, per position",
        lambda: Reads(mix=Standardised(0)),
        lambda: Reads(mix=Standardised(-1)),
        training=True,
    ),
    of_batch(
        "softmax over the batch",
        "normalised along the wrong axis",
        mixes(lambda x: x * x.softmax(0)),
        mixes(lambda x: x * x.softmax(-1)),
    ),
    of_batch(
        "mean of the batch",
        "each sequence is given the mean of all",
        mixes(lambda x: x.mean(0, keepdim=True).expand_as(x)),
        mixes(lambda x: x),
    ),
    of_batch(
        "shift over the flattened batch",
        "a first token is given the last one of the sequence before",
        mixes(shifted(True)),
        mixes(shifted(False)),
        row=1,
    ),
    of_batch(
        "attention over the batch",
        "(batch, length) read as (length, batch)",
        lambda: Reads(mix=OtherAxis(False)),
        lambda: Reads(mix=OtherAxis(True)),
        row=1,
    ),
    of_batch(
        "one scale for the batch",
        "quantised with the largest value of all sequences",
        mixes(lambda x: (x / x.abs().amax(0) * 7).round()),
        mixes(lambda x: (x / x.abs().amax(-1, keepdim=True) * 7).round()),
    ),
]

RIGHT = [
    Right("encoder with padding", "sees all but pads", attends(hides_keys, Padded), RIGHT_PADS, allowed=ALL),
    Right("ragged batch", "each sequence has pads of its own", attends(hides_keys, Padded), RAGGED, allowed=ALL),
    Right("convolution beside pads", "pads are zeros before the window slides", CLEAN_CONV, RIGHT_PADS, allowed=ALL),
    Right("masked mean", "the mean of the real tokens", mixes(pooled(False, False), Padded), RIGHT_PADS, allowed=ALL),
    Right(
        "cross-attention",
        "a decoder of other length than its padded source",
        Translates,
        TRANSLATION,
        allowed=ALL,
        options={"vary": "input_ids"},
    ),
]
