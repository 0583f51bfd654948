"""Decisions over time, which gradients do not see: sorting, choosing, routing."""

import torch
from torch import nn

from tests.verify.zoo.blocks import (
    DIM,
    FUTURE,
    Attention,
    Leaking,
    Reads,
    Right,
    future,
    ids,
    mean_of_all,
    mean_so_far,
    mixes,
    softmax,
)


def layer(name):
    return {name: lambda: nn.Linear(DIM, DIM)}


def expert(x, router, chosen):
    """The chosen tokens go through an expert, weighted by their gate."""
    return torch.where(chosen[..., None], (x * router(x)).tanh(), 0.0)


def expert_choice(x, router):
    """The expert takes the four tokens of the sequence that fit it best."""
    score = router(x)[..., 0]
    return expert(x, router, score >= score.topk(4, 1).values[:, -1:])


def token_choice(x, router):
    """Each token takes the expert that fits it best."""
    score = router(x)
    return expert(x, router, score[..., 0] > score[..., 1])


def depth_by_sort(x, router):
    """Mixture of depths: the better half of the tokens is computed, the rest skips."""
    rank = router(x)[..., 0].argsort(1, descending=True).argsort(1)
    return expert(x, router, rank < x.shape[1] // 2)


def depth_by_threshold(x, router):
    return expert(x, router, router(x)[..., 0] > 0)


def best_tokens(x):
    """Each channel turns the sign of its largest token."""
    return -2 * x * (x >= x.amax(1, keepdim=True))


def best_so_far(x):
    return -2 * x * (x >= x.cummax(1).values)


def capacity(order):
    """An expert with three seats; who comes first in ``order(score)`` gets one."""

    def mix(x, router):
        score = router(x)[..., 0]
        wants = score > 0
        place = torch.where(wants, order(score), torch.inf)
        seat = (place[:, None, :] < place[..., None]).sum(-1)
        return expert(x, router, wants & (seat < 3))

    return mix


def by_arrival(score):
    return torch.arange(score.shape[1]).expand_as(score).to(score)


def sequence_router(mean):
    """Each of many small experts is switched on for the sequence, or for what was read of it."""
    return lambda x, router: x * (router(mean(x)) > 0)


def router_over_tokens(x, router):
    return x * router(x).softmax(1)


def sparse_queries(judged):
    """ProbSparse: channels attend where the query's largest score stands out from its mean, else they keep a mean."""

    def mix(x, key):
        scores = x @ key(x).mT
        visible = softmax(scores.masked_fill(future(x.shape[1]), -torch.inf)) @ x
        largest, mean = judged(scores)
        return torch.where((largest - mean)[..., None] > torch.linspace(0, 15, DIM), visible, mean_so_far(x))

    return mix


def indexed(among):
    """An indexer keeps four keys for each query, ``among`` all or the visible ones; then the causal mask is applied."""

    def weights(scores):
        hidden = future(scores.shape[-1])
        kept = scores.masked_fill(hidden & (among == "visible"), -torch.inf).topk(4, -1).indices
        chosen = torch.zeros_like(scores).scatter(-1, kept, 1) + torch.eye(scores.shape[-1])
        return softmax(scores.masked_fill(hidden | (chosen == 0), -torch.inf))

    return lambda: Reads(mix=Attention(weights))


def over_all_keys(scores):
    return scores.amax(-1), scores.mean(-1)


def over_visible_keys(scores):
    hidden = future(scores.shape[-1])
    mean = scores.masked_fill(hidden, 0).sum(-1) / (~hidden).sum(-1)
    return scores.masked_fill(hidden, -torch.inf).amax(-1), mean


def gathered_experts(x, first, second):
    """The tokens of each expert are gathered, computed together and put back."""
    flat, out = x.flatten(0, 1), torch.zeros_like(x).flatten(0, 1)
    for number, part in enumerate((first, second)):
        rows = ((flat[:, 0] > 0) == bool(number)).nonzero()[:, 0]
        out = out.index_add(0, rows, part(flat[rows]))
    return out.view_as(x)


def top_two(x, router):
    """Two of all experts for each token, with renormalised gates."""
    gates, chosen = router(x).topk(2, -1)
    return torch.zeros_like(x).scatter(-1, chosen, gates.softmax(-1)) * x.cumsum(1)


ROUTER = layer("router")

LEAKING = [
    Leaking(
        "sorted over time",
        "values are sorted along the sequence",
        mixes(lambda x: x.sort(1).values),
        mixes(lambda x: x.cummax(1).values),
        pairs=FUTURE,
    ),
    Leaking(
        "expert choice",
        "experts choose their tokens",
        mixes(expert_choice, **ROUTER),
        mixes(token_choice, **ROUTER),
        pairs=FUTURE,
    ),
    Leaking(
        "mixture of depths",
        "the better half of the sequence is computed",
        mixes(depth_by_sort, **ROUTER),
        mixes(depth_by_threshold, **ROUTER),
        pairs=FUTURE,
    ),
    Leaking(
        "best token", "the largest over time is treated otherwise", mixes(best_tokens), mixes(best_so_far), pairs=FUTURE
    ),
    Leaking(
        "seats by score",
        "an expert's seats go to the highest scores",
        mixes(capacity(lambda score: -score), **ROUTER),
        mixes(capacity(by_arrival), **ROUTER),
        pairs=FUTURE,
    ),
    Leaking(
        "routed by the sequence",
        "one expert by the mean of the sequence",
        mixes(sequence_router(mean_of_all), **ROUTER),
        mixes(sequence_router(mean_so_far), **ROUTER),
        pairs=FUTURE,
    ),
    Leaking(
        "router over tokens",
        "gates sum to one over time",
        mixes(router_over_tokens, **ROUTER),
        mixes(lambda x, router: x * router(x).softmax(-1), **ROUTER),
    ),
    Leaking(
        "sparse queries",
        "queries are chosen by future keys",
        mixes(sparse_queries(over_all_keys), **layer("key")),
        mixes(sparse_queries(over_visible_keys), **layer("key")),
        pairs=FUTURE,
    ),
    Leaking(
        "indexer",
        "the kept keys are chosen before the future is hidden",
        indexed("all"),
        indexed("visible"),
        pairs=FUTURE,
    ),
]


RIGHT = [
    Right("token choice", "each token takes its expert", mixes(token_choice, **ROUTER), ids()),
    Right(
        "gathered experts",
        "products of other shapes, so other rounding",
        mixes(gathered_experts, **layer("first"), **layer("second")),
        ids(),
        rounding=1e-5,
    ),
    Right("two experts of many", "top-2 along features", mixes(top_two, **ROUTER), ids()),
    Right("seats by arrival", "a capacity that earlier tokens use up", mixes(capacity(by_arrival), **ROUTER), ids()),
]
