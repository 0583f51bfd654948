"""A model and its loss in one module, so that ``accelerate`` casts, wraps and synchronises both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from attnmask.model.transformer import Transformer
from attnmask.recipes import Example
from attnmask.recipes.learn.batches import NOT_LEARNED, Batch, batch, groups

ROWS = 128  # that are summed at once: a sum in float32 of another number format copies all of its numbers first


class Learner(nn.Module):  # type: ignore[misc]
    """The sum of the losses of all learned tokens of a batch; scores are made for these tokens only.

    Args:
        model: with a decoder.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, smoothing: float = 0.0) -> torch.Tensor:
        """The cross-entropy in nats, in float32; ``smoothing`` is the share of each label that goes to all tokens."""
        features = self.model.features(
            batch.target, batch.source, lengths=batch.lengths, source_lengths=batch.source_lengths, turns=batch.turns
        )
        learned = batch.labels != NOT_LEARNED
        features, labels, tokens = features[learned], batch.labels[learned], self.model.embedding.weight
        wanted = (1 - smoothing) * tokens[labels] + smoothing * tokens.mean(0)  # the mean score is a product, too
        every = _LogSumExp.apply(_in_autocast(features), _in_autocast(tokens))
        loss: torch.Tensor = (every - (features.float() * wanted).sum(-1)).sum()
        return loss


@torch.no_grad()  # type: ignore[untyped-decorator]
def mean_loss(learner: nn.Module, examples: Sequence[Example], tokens: int = 4096, *, padded: bool = False) -> float:
    """The mean loss of learned tokens, without smoothing, in nats.

    Args:
        learner: a Learner, or what ``accelerate`` has put around one.
        examples: any number.
        tokens: of a batch.
        padded: as in ``batch``.
    """
    learner.eval()
    device = next(learner.parameters()).device
    total, learned = 0.0, 0
    for group in groups([example.size for example in examples], tokens, range(len(examples))):
        data = batch([examples[index] for index in group], padded=padded)
        total += float(learner(data.to(device)))
        learned += data.learned
    return total / max(1, learned)


def _in_autocast(array: torch.Tensor) -> torch.Tensor:
    """In the number format of torch.autocast, where it is on: it does not look into our function."""
    kind = array.device.type
    return array.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else array


class _LogSumExp(torch.autograd.Function):  # type: ignore[misc]
    """log(sum(exp(features @ tokens.T))) of each row, with one array of the size of all scores, forward and backward.

    cross_entropy writes several, in float32: a whole training step of ``translate`` is a quarter faster without them.
    """

    @staticmethod
    def forward(ctx: Any, features: Any, tokens: Any) -> Any:
        scores = features @ tokens.t()
        largest = scores.amax(-1, keepdim=True)
        weights = scores.sub_(largest).exp_()
        total = torch.cat([some.sum(-1, keepdim=True, dtype=torch.float32) for some in weights.split(ROWS)])
        ctx.save_for_backward(features, tokens, weights, total)
        return (total.log() + largest.float())[:, 0]

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        features, tokens, weights, total = ctx.saved_tensors
        share = grad[:, None] / total
        of_features = ((weights @ tokens) * share).to(features.dtype)
        return of_features, weights.t() @ (features * share).to(tokens.dtype)
