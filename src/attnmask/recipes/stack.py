"""Layers of the reference Transformer where nothing has a position: content and masks alone decide."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

import attnmask as am
from attnmask.model.transformer import Config, Layer, rotations


class Stack(nn.Module):  # type: ignore[misc]
    """As many layers as masks are given, each under its own.

    >>> stack = Stack(Config(vocabulary=0, dim=16, heads=2, kv_heads=2, hidden=24), layers=2)
    >>> stack(torch.zeros(1, 5, 16), [am.graph([(0, 1)], 5), am.causal()]).shape
    torch.Size([1, 5, 16])
    """

    def __init__(self, config: Config, layers: int) -> None:
        super().__init__()
        self.size = config.dim // config.heads
        self.layers = nn.ModuleList(Layer(config, cross=False) for _ in range(layers))
        self.norm = nn.RMSNorm(config.dim)

    def forward(self, x: torch.Tensor, masks: Sequence[am.Mask | am.Selection]) -> torch.Tensor:
        """Features (batch, length, dim) after the layers, layer i under mask i."""
        turns = rotations(torch.zeros(x.shape[1]), self.size, x)  # turned by nothing: no place differs from another
        for layer, mask in zip(self.layers, masks, strict=True):
            x = layer(x, mask, am.Frame(x.shape[1]), turns)
        result: torch.Tensor = self.norm(x)
        return result
