"""Inputs for Hugging Face models, made by the names of their arguments and the sizes in their configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

LENGTH = 16  # positions of ids
SOURCE_LENGTH = 12  # positions of an encoder-decoder's source
FIRST_WORD = 5  # lower ids are special
SAMPLES = 3200  # of a waveform, where a model's convolutions make frames of them
FRAMES = 32  # of a spectrogram


class Made(NamedTuple):
    """One way to call a model: its inputs, and the axis or axes of positions of those that have unusual ones."""

    inputs: dict[str, torch.Tensor]
    axes: dict[str, int | tuple[int, ...]]


class Maker:
    """Makes random inputs for a model and its configuration.

    Args:
        model: is asked for the names of its arguments.
        config: is asked for sizes, also that of a part, such as the text or vision part.
        seed: of all random content.
    """

    def __init__(self, model: torch.nn.Module, config: Any, seed: int) -> None:
        self.config, self.known = config, inspect.signature(model.forward).parameters
        self.main = getattr(model, "main_input_name", "input_ids")
        self.choices = type(model).__name__.endswith("ForMultipleChoice")
        self.generator = torch.Generator().manual_seed(seed)

    def ways(self) -> Iterator[Made]:
        """The ways to call the model that may do, the likeliest first."""
        possible = [name for name in self.known if name in MAKERS]
        needed = [name for name in possible if name == self.main or self.known[name].default is inspect.Parameter.empty]
        both = [needed, possible]
        for names in reversed(both) if getattr(self.config, "is_encoder_decoder", False) else both:
            if names:
                made = {name: MAKERS[name](self) for name in names}
                given = {name: value for name, value in made.items() if value is not None}
                yield Made(given, {name: AXES[name](self) for name in given if name in AXES})

    def size(self, *names: str, default: int) -> int:
        """The first of some settings that the configuration, or a part of it, has."""
        found = self.setting(*names)
        first: int | None = found[0] if isinstance(found, (list, tuple)) else found
        return default if first is None else first

    def setting(self, *names: str) -> Any:
        """The first of some settings, whatever it is; None where there is none."""
        parts = [getattr(self.config, name, None) for name in getattr(self.config, "sub_configs", {})]
        values = (getattr(part, name, None) for name in names for part in (self.config, *parts) if part is not None)
        return next((value for value in values if value is not None), None)

    def ids(self, length: int) -> torch.Tensor:
        """Ids of words."""
        vocabulary = getattr(self.config.get_text_config(), "vocab_size", None) or self.size("vocab_size", default=128)
        shape = (1, 2, length) if self.choices else (1, length)
        return torch.randint(FIRST_WORD, vocabulary, shape, generator=self.generator)

    def floats(self, *shape: int) -> torch.Tensor:
        """Numbers of unit size."""
        return torch.randn(1, *shape, generator=self.generator)

    @property
    def steps(self) -> int:
        """How far a model of time series looks back."""
        lags: list[int] = self.setting("lags_sequence") or [0]
        return self.size("context_length", "prediction_length", default=FRAMES) + max(lags)

    @property
    def is_whisper(self) -> bool:
        """Whether spectrograms are (batch, bins, frames)."""
        return self.setting("max_source_positions") is not None and self.setting("input_feat_per_channel") is None


def _pixels(maker: Maker) -> torch.Tensor:
    size = maker.setting("image_size", "img_size", "input_size") or 32
    rows, columns = (size, size) if isinstance(size, int) else tuple(size)[:2]
    return maker.floats(maker.size("num_channels", "in_channels", "in_chans", default=3), rows, columns)


def _features(maker: Maker) -> torch.Tensor:
    bins = maker.size("input_feat_per_channel", "num_mel_bins", "feature_projection_input_dim", "input_dim", default=80)
    if maker.is_whisper:
        return maker.floats(bins, 2 * maker.size("max_source_positions", default=FRAMES))
    return maker.floats(FRAMES, bins)


def _values(maker: Maker) -> torch.Tensor:
    bins = maker.setting("num_mel_bins")
    return maker.floats(SAMPLES) if bins is None else maker.floats(maker.size("max_length", default=FRAMES), bins)


def _past(maker: Maker) -> torch.Tensor:
    channels = maker.setting("num_input_channels")
    return maker.floats(maker.steps) if channels is None else maker.floats(maker.steps, int(channels))


def _boxes(maker: Maker) -> torch.Tensor:
    return torch.zeros(1, LENGTH, 4, dtype=torch.int64)


def _past_features(maker: Maker) -> torch.Tensor:
    count = maker.size("num_time_features", default=0) + maker.size("num_dynamic_real_features", default=0)
    return maker.floats(maker.steps, count)


def _future_features(maker: Maker) -> torch.Tensor:
    count = maker.size("num_time_features", default=0) + maker.size("num_dynamic_real_features", default=0)
    return maker.floats(maker.size("prediction_length", default=4), count)


def _future(maker: Maker) -> torch.Tensor | None:
    return None if maker.setting("lags_sequence") is None else maker.floats(maker.size("prediction_length", default=4))


def _source(maker: Maker) -> torch.Tensor:
    source = bool(getattr(maker.config, "is_encoder_decoder", False)) and "decoder_input_ids" in maker.known
    return maker.ids(SOURCE_LENGTH if source else LENGTH)


# What arguments of these names are; None where a configuration has no use for it.
MAKERS: dict[str, Callable[[Maker], torch.Tensor | None]] = {
    "input_ids": _source,
    "decoder_input_ids": lambda maker: maker.ids(LENGTH),
    "pixel_values": _pixels,
    "input_features": _features,
    "input_values": _values,
    "past_values": _past,
    "past_time_features": _past_features,
    "past_observed_mask": lambda maker: None if maker.setting("lags_sequence") is None else torch.ones(1, maker.steps),
    "future_values": _future,
    "future_time_features": _future_features,
    "bbox": _boxes,
}
# The axes of positions, where they are not the usual ones.
AXES: dict[str, Callable[[Maker], int | tuple[int, ...]]] = {
    "pixel_values": lambda maker: (2, 3),
    "input_features": lambda maker: 2 if maker.is_whisper else 1,
}
