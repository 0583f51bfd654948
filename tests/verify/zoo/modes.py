"""Masks that are right in one situation and forgotten in another: a length, a batch, a mode, an argument."""

import torch
from torch import nn

import attnmask as am
from tests.verify.zoo.blocks import (
    DIM,
    HEADS,
    Attention,
    Leaking,
    Packed,
    Padded,
    Reads,
    Right,
    Shown,
    causal,
    future,
    ids,
    mixes,
    softmax,
)


class Forgets(nn.Module):
    """Causal attention that has no mask when ``when(training, states, attention_mask)`` is true."""

    def __init__(self, when):
        super().__init__()
        self.attention = Attention(lambda scores, forgets: softmax(scores) if forgets else causal(scores))
        self.when = when

    def forward(self, x, attention_mask=None):
        return self.attention(x, self.when(self.training, x, attention_mask))


class DropoutPath(nn.Module):
    """Fused attention in evaluation; in training the weights are made by hand, to be dropped."""

    def __init__(self, by_hand):
        super().__init__()
        self.attention = Attention(self.weights)
        self.by_hand = by_hand

    def weights(self, scores):
        return nn.functional.dropout(self.by_hand(scores), 0.1) if self.training else causal(scores)

    def forward(self, x):
        return self.attention(x)


class Chunked(nn.Module):
    """Long inputs in blocks of eight queries; after the first, ``whole`` blocks are masked like their last query."""

    def __init__(self, whole):
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.whole = whole

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        done = []
        for start in range(0, x.shape[1], 8):
            scores = q[:, start : start + 8] @ k[:, : start + 8].mT
            hidden = future(x.shape[1])[start : start + 8, : start + 8]
            if start and self.whole:
                hidden = hidden[-1:]
            done.append(softmax(scores.masked_fill(hidden, -torch.inf)) @ v[:, : start + 8])
        return x + torch.cat(done, 1)


class KeepsMask(nn.Module):
    """The mask of the first call is kept; of a longer input it covers a corner."""

    def __init__(self, looks):
        super().__init__()
        self.attention = Attention(self.weights)
        self.kept = None
        self.looks = looks

    def weights(self, scores):
        length = scores.shape[-1]
        if self.kept is None or (self.looks and len(self.kept) != length):
            self.kept = future(length)
        hidden = torch.zeros(length, length, dtype=torch.bool)
        size = min(length, len(self.kept))
        hidden[:size, :size] = self.kept[:size, :size]
        return softmax(scores.masked_fill(hidden, -torch.inf))

    def forward(self, x):
        return self.attention(x)


class Remembers(nn.Module):
    """A buffer holds the mean of the last call and is added to the next."""

    def __init__(self, resets):
        super().__init__()
        self.register_buffer("memory", torch.zeros(DIM))
        self.resets = resets

    def forward(self, x):
        if self.resets:
            self.memory.zero_()
        out = x.cumsum(1) + self.memory
        self.memory.copy_(x.detach().mean((0, 1)))
        return out


class HintedDocuments(nn.Module):
    """``is_causal=True`` beside a mask of documents: without weights to return, PyTorch takes the hint for the mask."""

    def __init__(self, hint):
        super().__init__()
        self.attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        self.hint = hint

    def forward(self, x, position_ids):
        document = (position_ids == 0).cumsum(-1)
        hidden = future(x.shape[1]) | (document[:, :, None] != document[:, None])
        mask = hidden.repeat_interleave(HEADS, 0)
        return x + self.attention(x, x, x, attn_mask=mask, need_weights=False, is_causal=self.hint)[0]


def rotated(x, places):
    """Rotary positions: pairs of features turned by an angle that grows with the place."""
    one, other = x.chunk(2, -1)
    angle = places[:, None] * torch.tensor([1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001])
    return torch.cat([one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos()], -1)


def rotary(offset):
    """Linear attention with rotary queries that stand ``offset(length)`` later than they should."""

    def mix(x):
        places = torch.arange(x.shape[1]).float()
        scores = rotated(x, places + offset(x.shape[1])) @ rotated(x, places).mT
        return scores.tril() @ x * 0.1

    return mix


def stretched(base):
    """Rotary positions whose speed follows the total length (dynamic NTK), or not."""

    def mix(x):
        places = torch.arange(x.shape[1]) / base(x.shape[1])
        return (rotated(x, places) @ rotated(x, places).mT).tril() @ x * 0.1

    return mix


def forgets(name, about, when, never=lambda *_: False, inputs=None, model=Reads, **more):
    inputs = ids() if inputs is None else inputs
    return Leaking(
        name,
        about,
        lambda: model(mix=Forgets(when)),
        lambda: model(mix=Forgets(never)),
        inputs,
        module="mix.attention",
        **more,
    )


def masked(*valid):
    return {"input_ids": ids(len(valid)), "attention_mask": torch.tensor([valid])}


POSITIONS = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 1, 2]])
ONES = {"attention_mask": torch.ones(1, 10, dtype=torch.long)}
PADDED = masked(*[1] * 8, 0, 0)
DOCUMENTS = am.documents([0, 0, 0, 0, 1, 1, 1, 2, 2, 2]) & am.causal()

LEAKING = [
    forgets(
        "lengths of 8",
        "no mask where the length divides by 8",
        lambda _, x, __: x.shape[1] % 8 == 0,
        shown=Shown(length=8),
    ),
    forgets(
        "lengths of 16",
        "no mask where the length divides by 16",
        lambda _, x, __: x.shape[1] % 16 == 0,
        shown=Shown(length=16),
    ),
    forgets(
        "lengths of 64",
        "no mask where the length divides by 64",
        lambda _, x, __: x.shape[1] % 64 == 0,
        options={"lengths": [64]},
        shown=Shown(length=64),
    ),
    forgets(
        "odd lengths", "no mask where the length is odd", lambda _, x, __: x.shape[1] % 2 == 1, shown=Shown(length=9)
    ),
    forgets(
        "batch of one",
        "no mask for a single sequence",
        lambda _, x, __: len(x) == 1,
        inputs=ids(batch=2),
        shown=Shown(batch=1),
    ),
    forgets("batch of two", "no mask for several sequences", lambda _, x, __: len(x) > 1, shown=Shown(batch=2)),
    forgets("training", "no mask in training mode", lambda training, *_: training, shown=Shown(training=True)),
    forgets(
        "attention_mask of ones",
        "a padding mask without padding takes a fast path without any mask",
        lambda _, x, mask: mask is not None and bool(mask.all()),
        inputs=PADDED,
        model=Padded,
        shown=Shown(inputs=ONES),
    ),
    forgets(
        "no attention_mask",
        "the causal mask is only built with a padding mask",
        lambda _, x, mask: mask is None,
        inputs=PADDED,
        model=Padded,
        shown=Shown(inputs={"attention_mask": None}),
    ),
    Leaking(
        "dropout path",
        "dropout takes another path, without a mask",
        lambda: Reads(mix=DropoutPath(softmax)),
        lambda: Reads(mix=DropoutPath(causal)),
        ids(),
        shown=Shown(training=True),
        module="mix.attention",
    ),
    Leaking(
        "is_causal hint",
        "a hint that supersedes the mask that is given with it",
        lambda: Packed(mix=HintedDocuments(True)),
        lambda: Packed(mix=HintedDocuments(False)),
        {"input_ids": ids(), "position_ids": POSITIONS},
        allowed=DOCUMENTS,
        shown=Shown(training=True),
        pairs=((4, 0),),
        module="mix.attention",
    ),
    Leaking(
        "blocks of long inputs",
        "from the second block of 8 on whole blocks are visible",
        lambda: Reads(mix=Chunked(True)),
        lambda: Reads(mix=Chunked(False)),
        ids(8),
        shown=Shown(length=16),
        pairs=((8, 9),),
    ),
    Leaking(
        "kept mask",
        "the mask of a shorter call before is kept",
        lambda: Reads(mix=KeepsMask(False)),
        lambda: Reads(mix=KeepsMask(True)),
        ids(),
        shown=Shown(before=6),
        pairs=tuple((0, key) for key in range(1, 64)),
        module="mix.attention",
    ),
    Leaking(
        "memory of the last call",
        "a buffer carries one call into the next",
        lambda: Reads(mix=Remembers(False)),
        lambda: Reads(mix=Remembers(True)),
        ids(),
        shown=Shown(by="state"),
        pairs=(),
    ),
    Leaking(
        "length embedding",
        "a vector for the total length is added",
        mixes(lambda x: x.cumsum(1) + x.shape[1] / 10),
        mixes(lambda x: x.cumsum(1) + 1),
        ids(),
        shown=Shown(by="length"),
        pairs=(),
    ),
    Leaking(
        "positions from the end",
        "places are counted backwards from the last token",
        mixes(lambda x: torch.arange(x.shape[1]).flip(0)[:, None] * 0.1 * x),
        mixes(lambda x: torch.arange(x.shape[1])[:, None] * 0.1 * x),
        ids(),
        shown=Shown(by="length"),
        pairs=(),
    ),
    Leaking(
        "rotary offset by the length",
        "queries are turned as if they stood at the end",
        mixes(rotary(lambda length: length)),
        mixes(rotary(lambda _: 0)),
        ids(),
        shown=Shown(by="length"),
        pairs=(),
    ),
    Leaking(
        "rotary base by the length",
        "dynamic NTK scaling: each token more turns all earlier ones",
        mixes(stretched(lambda length: length / 4)),
        mixes(stretched(lambda _: 2)),
        ids(),
        shown=Shown(by="length"),
        pairs=(),
    ),
]

RIGHT = [
    Right("rotary", "relative positions by rotation", mixes(rotary(lambda _: 0)), ids()),
    Right("blocks of eight", "long inputs in blocks masked by element", lambda: Reads(mix=Chunked(False)), ids(12)),
]
