"""Caches of transformers: those of a fixed size, whose unused slots nobody may see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from transformers import DynamicCache, EncoderDecoderCache, StaticCache

JUNK = 1e4  # what unused slots are filled with: zeros could be seen without a trace in the values


def static_cache(model: torch.nn.Module, length: int) -> Any:
    """An empty cache of a fixed size, as the configuration of a model asks for."""
    config: Any = model.config
    cache = StaticCache(config=config, max_cache_len=length)
    if config.is_encoder_decoder:  # what it keeps of the encoder is of the encoder's length, whatever that is
        return EncoderDecoderCache(cache, DynamicCache())  # no window of the decoder holds for it
    return cache


def fill_unused(cache: Any) -> None:
    """Write large numbers into all slots that are not used yet."""
    for layer in _layers(getattr(cache, "self_attention_cache", cache)):
        used = int(layer.get_seq_length())
        for states in (layer.keys, layer.values):
            states[:, :, used:] = JUNK * torch.randn_like(states[:, :, used:])


def _layers(cache: Any) -> Iterator[Any]:
    """The layers with slots."""
    for layer in cache.layers:
        if getattr(layer, "is_initialized", False) and hasattr(layer, "max_cache_len"):
            yield layer
