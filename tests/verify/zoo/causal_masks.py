"""Attention whose causal mask is missing, wrong, too weak, or not everywhere."""

import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
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
    seen,
    softmax,
)


def hides(hidden):
    """Weights with the pairs hidden that ``hidden(length)`` says."""
    return lambda scores: softmax(scores.masked_fill(hidden(scores.shape[-1]), -torch.inf))


def adds(fill):
    """Weights with a number added to the scores of the future."""
    return lambda scores: softmax(scores + fill * future(scores.shape[-1]))


def after_softmax(scores):
    return softmax(scores) * ~future(scores.shape[-1])


def renormalised(scores):
    weights = after_softmax(scores)
    return weights / weights.sum(-1, keepdim=True)


def renormalised_over_all(scores):
    """The sum is taken before the future is set to zero."""
    weights = scores.exp()
    return weights * ~future(scores.shape[-1]) / weights.sum(-1, keepdim=True)


def fills_weights(fill):
    return lambda scores: softmax(scores).masked_fill(future(scores.shape[-1]), fill)


def over_queries(scores):
    return scores.masked_fill(future(scores.shape[-1]), -torch.inf).softmax(-2)


def one_head(scores):
    return torch.cat([causal(scores[:, :1]), softmax(scores[:, 1:])], 1)


def shared_maximum(scores):
    """Subtracts the largest score of all keys, hidden ones too: rows far below it underflow."""
    weights = (scores - scores.amax(-1, keepdim=True)).exp() * ~future(scores.shape[-1])
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)


def clipped_offsets(lowest):
    """A table of biases by offset, -inf for keys after the query; ``lowest`` clips the offsets."""

    def weights(scores):
        places = torch.arange(scores.shape[-1])
        offsets = (places[:, None] - places).clamp(lowest, 3)
        table = torch.tensor([0.0, -0.1, -0.2, -0.3, -torch.inf])  # the last one is offset -1
        return softmax(scores + table[offsets])

    return weights


def transposed(scores):
    """The mask is laid along (keys, queries)."""
    return softmax(scores.masked_fill(future(scores.shape[-1]).mT, -torch.inf))


def blocks_only(size):
    """Whole blocks are hidden, but within the diagonal block nothing is."""

    def hidden(length):
        block = torch.arange(length) // size
        return block[:, None] < block

    return hides(hidden)


class PaddingRows(nn.Module):
    """PyTorch's attention with the padding (id 0) on the left, whose rows see nothing and are NaN."""

    def __init__(self, ahead):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, DIM)
        self.mix = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
        self.ahead = ahead

    def forward(self, input_ids):
        x = self.embed(input_ids)
        hidden = future(x.shape[1], self.ahead)
        return x + self.mix(x, x, x, attn_mask=hidden, key_padding_mask=input_ids == 0, need_weights=False)[0]


def layers(*weights):
    return lambda: Reads(**{f"layer{n}": Attention(each) for n, each in enumerate(weights)})


class Grouped(nn.Module):
    """Fused attention of four query heads over one key head."""

    def __init__(self):
        super().__init__()
        self.queries, self.keys = nn.Linear(DIM, 4 * DIM), nn.Linear(DIM, 2 * DIM)

    def forward(self, x):
        q = self.queries(x).unflatten(-1, (4, DIM)).transpose(1, 2)
        k, v = self.keys(x)[:, None].chunk(2, -1)
        return x + F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).sum(1)


def headless(weights):
    """Without the last layer, in which infinities of both signs would all become NaN."""

    def make():
        model = attends(weights)()
        model.head = nn.Identity()
        return model

    return make


def entry(name, about, broken, repaired=causal, **more):
    return Leaking(name, about, attends(broken), attends(repaired), ids(), **more)


WINDOW = am.window(2) & am.causal()
TREE = am.tree([-1, 0, 0, 1, 1, 2, 2, 3, 3, 4])
SINKS = am.causal() & (am.window(2) | am.sinks(2))

LEAKING = [
    entry("no mask", "attention without any mask", softmax),
    entry("inverted mask", "polarity: the visible pairs are hidden", hides(lambda n: ~future(n, 0))),
    entry("transposed mask", "the mask lies along the wrong axis", transposed),
    entry("one ahead, triu", "the diagonal of triu is off by one", hides(lambda n: future(n, 2))),
    entry("one ahead, tril", "the diagonal of tril is off by one", hides(lambda n: ~torch.ones(n, n).tril(1).bool())),
    entry("fill -1", "a fill that any score overcomes", adds(-1.0)),
    entry("fill -10", "a fill that leaks a little at ordinary scores", adds(-10.0)),
    entry("fill -50", "a fill that large weights overcome", adds(-50.0), shown=Shown(gain=5.0)),
    entry(
        "fill -1e4",
        "a fill that very large weights overcome",
        adds(-1e4),
        shown=Shown(gain=40.0),
        pairs=FUTURE,
        options=LARGE,
    ),
    entry("masked after softmax", "the hidden keys are still in the sum", after_softmax),
    entry("divided by the sum of all", "softmax by hand with the hidden keys in its sum", renormalised_over_all),
    entry("fill after softmax", "the fill is set into weights", fills_weights(-1e4)),
    Leaking(
        "-inf after softmax",
        "infinity is set into weights: its sign, or NaN, tells of the hidden values",
        headless(fills_weights(-torch.inf)),
        headless(causal),
        ids(),
        pairs=(),
    ),
    entry("softmax over queries", "normalised along the wrong axis", over_queries),
    entry(
        "maximum of hidden keys",
        "subtracted maximum underflows what is visible",
        shared_maximum,
        shown=Shown(gain=20.0),
        rounding=1e-4,
        pairs=FUTURE,
        options=LARGE,
    ),
    entry("one head", "the mask reaches only the first head", one_head),
    Leaking(
        "last layer",
        "the third of three layers forgets its mask",
        layers(causal, causal, softmax),
        layers(causal, causal, causal),
        ids(),
        module="layer2",
    ),
    Leaking(
        "first layer",
        "the first of two layers forgets its mask",
        layers(softmax, causal),
        layers(causal, causal),
        ids(),
        module="layer0",
    ),
    entry("blocks only", "the diagonal blocks are taken for visible", blocks_only(4)),
    entry(
        "offsets clipped at 0",
        "a table by relative position is clipped before the future",
        clipped_offsets(0),
        clipped_offsets(-1),
    ),
    entry(
        "window one too long",
        "a window size that counts without the query",
        seen(am.window(3) & am.causal()),
        seen(WINDOW),
        allowed=WINDOW,
        pairs=((3, 0),),
    ),
    entry(
        "two-sided window one too long",
        "the right side of a window is off by one",
        seen(am.window(1, 2)),
        seen(am.window(1, 1)),
        allowed=am.window(1, 1),
        pairs=((0, 2),),
    ),
    entry(
        "sinks in the future",
        "sinks are joined after the causal mask",
        seen(WINDOW | am.sinks(2)),
        seen(SINKS),
        allowed=SINKS,
    ),
    entry(
        "tree taken for a sequence",
        "drafts in a tree see the branches beside them",
        causal,
        seen(TREE),
        allowed=TREE,
        pairs=((2, 1),),
    ),
    entry(
        "prefix too long",
        "a prefix of 4 where 3 is right",
        seen(am.prefix([4]) | am.causal()),
        seen(am.prefix([3]) | am.causal()),
        allowed=am.prefix([3]) | am.causal(),
        pairs=((0, 3),),
    ),
    entry(
        "chunks too long",
        "chunks of 5 where 4 is right",
        seen(am.chunked(5) & am.causal()),
        seen(am.chunked(4) & am.causal()),
        allowed=am.chunked(4) & am.causal(),
        pairs=((4, 0),),
    ),
    Leaking(
        "one ahead beside rows of NaN",
        "rows of padding are NaN and hide an off by one",
        lambda: PaddingRows(2),
        lambda: PaddingRows(1),
        torch.tensor([[0, 0, 0, 5, 9, 3, 7, 2]]),
        pairs=((0, 1), (2, 3), (3, 4)),
    ),
]

RIGHT = [
    Right(
        "renormalised weights",
        "bounded scores, masked after the softmax, then divided by the visible sum",
        attends(lambda s: renormalised(s.tanh())),
        ids(),
        rounding=1e-5,
    ),
    Right(
        "fill of the smallest float",
        "-3.4e38 in place of the scores",
        attends(lambda s: softmax(s.masked_fill(future(s.shape[-1]), torch.finfo(s.dtype).min))),
        ids(),
    ),
    Right("sinks", "the first two keys and a window", attends(seen(SINKS)), ids(), allowed=SINKS),
    Right("window", "a window of two before", attends(seen(WINDOW)), ids(), allowed=WINDOW),
    Right(
        "prefix-LM",
        "a prefix that sees itself",
        attends(seen(am.prefix([3]) | am.causal())),
        ids(),
        allowed=am.prefix([3]) | am.causal(),
    ),
    Right("soft-capped", "scores through tanh before the mask", attends(lambda s: causal(5 * (s / 5).tanh())), ids()),
    Right("grouped queries", "fused attention with one key head", lambda: Reads(mix=Grouped()), ids()),
    Right("NaN rows", "rows of left padding are NaN", lambda: PaddingRows(1), torch.tensor([[0, 0, 5, 9, 3, 7, 2, 4]])),
]
