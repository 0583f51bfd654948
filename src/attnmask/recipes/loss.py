"""A model and its loss in one module, so that ``accelerate`` casts, wraps and synchronises both."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from attnmask.model.transformer import Transformer
from attnmask.recipes.batches import NOT_LEARNED, Batch


class Learner(nn.Module):  # type: ignore[misc]
    """The sum of the losses of all learned tokens of a batch; scores are made for these tokens only.

    Args:
        model: with a decoder.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, smoothing: float = 0.0) -> torch.Tensor:
        """The loss in nats, in float32."""
        lengths = {"lengths": batch.lengths, "source_lengths": batch.source_lengths}
        features = self.model.features(batch.target, batch.source, **lengths)
        learned = batch.labels != NOT_LEARNED
        scores = self.model.scores(features[learned]).float()
        return F.cross_entropy(scores, batch.labels[learned], reduction="sum", label_smoothing=smoothing)
