"""A Transformer small enough to read, with every mask in its place.

    encoder           padding                          a token sees the real tokens of its own sequence
    decoder           padding & causal                 ... up to itself
    cross-attention   the padding of the source only   every target token sees the real source tokens

Packed sequences stand one behind the other in one row and waste nothing: there the masks say "of the same sequence" in the
place of padding. Vaswani et al. 2017, "Attention is all you need"; pre-norm (Xiong et al. 2020), rotary positions
(Su et al. 2021), grouped heads (Ainslie et al. 2023), gated feed-forward (Shazeer 2020), tied embeddings (Press 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from attnmask.errors import InputError


@dataclass(frozen=True)
class Config:
    """The sizes of a model.

    Attributes:
        vocabulary: number of tokens; encoder and decoder share them.
        dim: numbers per token.
        heads: query heads; each has dim / heads numbers.
        kv_heads: key and value heads; they divide heads.
        encoder_layers: 0 for a decoder alone.
        decoder_layers: 0 for an encoder alone.
        hidden: numbers inside the feed-forward layers.
        dropout: the share of numbers that are dropped in training.
        causal: whether a decoder token sees only what stands before it; False is a broken model, to show what happens.
        ahead: tokens of the future that a causal decoder sees; 0, or the model is broken by being off by so many.
    """

    vocabulary: int
    dim: int = 256
    heads: int = 8
    kv_heads: int = 4
    encoder_layers: int = 0
    decoder_layers: int = 4
    hidden: int = 768
    dropout: float = 0.1
    causal: bool = True
    ahead: int = 0


class Transformer(nn.Module):  # type: ignore[misc]
    """Encoder, decoder, or both.

    >>> model = Transformer(Config(vocabulary=50, dim=32, heads=4, kv_heads=2, encoder_layers=1, decoder_layers=1, hidden=64))
    >>> target, source = torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 7, dtype=torch.long)
    >>> model(target, source, lengths=[5, 3], source_lengths=[7, 4]).shape
    torch.Size([2, 5, 50])
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        cross = config.encoder_layers > 0
        self.encoder = nn.ModuleList(Layer(config, cross=False) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(Layer(config, cross=cross) for _ in range(config.decoder_layers))
        self.encoded = nn.RMSNorm(config.dim)
        self.decoded = nn.RMSNorm(config.dim)
        self.apply(_start)

    def forward(
        self,
        target: torch.Tensor,
        source: torch.Tensor | None = None,
        *,
        lengths: Any = None,
        source_lengths: Any = None,
        starts: Any = None,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """Scores of every token after each target token; of the source's features if there is no decoder.

        Args:
            target: token ids (batch, length); those of the encoder if there is no decoder.
            source: token ids (batch, source length), where there is an encoder and a decoder.
            lengths: real tokens of each row; or, for a batch of one row, of each sequence packed into it.
            source_lengths: the same for the source.
            starts: the first real token of each row, where rows are padded on the left.
            cache: keys and values of earlier tokens, which this call extends.

        Returns:
            (batch, length, vocabulary), or (batch, length, dim) of an encoder alone.
        """
        if not self.config.decoder_layers:
            return self.encode(target, lengths)
        memory, cross = None, None
        if self.config.encoder_layers:
            if cache is not None and cache.memory:
                cross = cache.cross
            else:
                memory, cross = self._source(target, source, lengths, source_lengths)
                if cache is not None:
                    cache.cross = cross
        hidden = self._decode(target, memory, cross, lengths, starts, cache)
        return F.linear(hidden, self.embedding.weight)

    def encode(self, source: torch.Tensor, lengths: Any = None) -> torch.Tensor:
        """Features (batch, length, dim) of tokens that see all tokens of their sequence."""
        mask = sequence_mask(lengths, *source.shape)
        x = self.embedding(source)
        turns = rotations(positions(lengths, source.shape[0], source.shape[1], 0), self._dim_of_head, x)
        for layer in self.encoder:
            x = layer(x, mask, am.Frame(source.shape[1]), turns)
        return self.encoded(x)

    def _source(self, target: Any, source: Any, lengths: Any, source_lengths: Any) -> tuple[torch.Tensor, am.Mask]:
        if source is None:
            raise InputError(
                "a model with an encoder and a decoder takes a source", "source None", "Pass model(target, source)"
            )
        if packed(source_lengths, source.shape[0]):
            cross = same_sequence(lengths, source_lengths)
        else:
            cross = sequence_mask(source_lengths, *source.shape)
        return self.encode(source, source_lengths), cross

    def _decode(
        self, target: Any, memory: Any, cross: Any, lengths: Any, starts: Any, cache: Cache | None
    ) -> torch.Tensor:
        batch, length = target.shape
        past = 0 if cache is None else cache.length
        mask = sequence_mask(lengths, batch, length)
        if self.config.causal:
            mask = mask & am.window(None, self.config.ahead)  # window(None, 0) is causal()
        if starts is not None:
            mask = mask & (am.lookup(list(starts), am.b) <= am.k)
        frame = am.Frame(length, past + length, q_start=past)
        x = self.embedding(target)
        turns = rotations(positions(lengths, batch, length, past), self._dim_of_head, x)
        for number, layer in enumerate(self.decoder):
            x = layer(x, mask, frame, turns, memory, cross, None if cache is None else cache.of(number))
        if cache is not None:
            cache.length += length
        return self.decoded(x)

    @property
    def _dim_of_head(self) -> int:
        return self.config.dim // self.config.heads


class Layer(nn.Module):  # type: ignore[misc]
    """Self-attention, cross-attention where there is a source, and a gated feed-forward; each added to what it is given."""

    def __init__(self, config: Config, *, cross: bool) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.cross = Attention(config) if cross else None
        self.norms = nn.ModuleList(nn.RMSNorm(config.dim) for _ in range(3 if cross else 2))
        self.widen = nn.Linear(config.dim, 2 * config.hidden, bias=False)
        self.narrow = nn.Linear(config.hidden, config.dim, bias=False)
        self.drop = nn.Dropout(config.dropout)

    def forward(
        self, x: Any, mask: Any, frame: Any, turns: Any, memory: Any = None, cross: Any = None, cache: Any = None
    ) -> torch.Tensor:
        """Tokens (batch, length, dim) after what they saw under ``mask``, and of the source under ``cross``."""
        seen = self.norms[0](x)
        x = x + self.drop(self.attention(seen, mask, frame, turns, cache=cache))
        if self.cross is not None:
            x = x + self.drop(self.cross.look_up(self.norms[1](x), memory, cross, cache))
        gate, value = self.widen(self.norms[-1](x)).chunk(2, dim=-1)
        result: torch.Tensor = x + self.drop(self.narrow(F.silu(gate) * value))
        return result


class Attention(nn.Module):  # type: ignore[misc]
    """Grouped heads over the tokens themselves, or over a source."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.size = config.heads, config.kv_heads, config.dim // config.heads
        self.query = nn.Linear(config.dim, config.heads * self.size, bias=False)
        self.key_value = nn.Linear(config.dim, 2 * config.kv_heads * self.size, bias=False)
        self.out = nn.Linear(config.heads * self.size, config.dim, bias=False)

    def forward(self, x: Any, mask: Any, frame: Any, turns: Any, cache: Any = None) -> torch.Tensor:
        """Tokens see tokens, those of the cache first."""
        query = rotated(self._heads(self.query(x), self.heads), turns)
        key, value = self._keys(x)
        key = rotated(key, turns)
        if cache is not None:
            key, value = cache.extended(key, value)
        return self._joined(am.attention(query, key, value, mask, frame=frame))

    def look_up(self, x: Any, memory: Any, mask: Any, cache: Any = None) -> torch.Tensor:
        """Tokens see a source, which the cache keeps."""
        query = self._heads(self.query(x), self.heads)
        key, value = cache.memory(lambda: self._keys(memory)) if cache is not None else self._keys(memory)
        frame = am.Frame(query.shape[2], key.shape[2], align="start")
        return self._joined(am.attention(query, key, value, mask, frame=frame))

    def _keys(self, x: Any) -> tuple[Any, Any]:
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self._heads(key, self.kv_heads), self._heads(value, self.kv_heads)

    def _heads(self, x: Any, heads: int) -> Any:
        return x.unflatten(2, (heads, self.size)).transpose(1, 2)  # (batch, heads, length, size)

    def _joined(self, x: Any) -> torch.Tensor:
        result: torch.Tensor = self.out(x.transpose(1, 2).flatten(2))
        return result


class Cache:
    """Keys and values of the tokens so far, for each decoder layer; and those of the source, made once."""

    def __init__(self) -> None:
        self.length = 0
        self.cross: am.Mask | None = None
        self.layers: dict[int, _LayerCache] = {}

    @property
    def memory(self) -> bool:
        """Whether the source is in it."""
        return any(layer.source for layer in self.layers.values())

    def of(self, layer: int) -> _LayerCache:
        """The part of one layer."""
        return self.layers.setdefault(layer, _LayerCache())

    def select(self, rows: torch.Tensor) -> None:
        """Rows of the batch in another order, as beam search wants them; a row may come twice."""
        for layer in self.layers.values():
            layer.own = tuple(array.index_select(0, rows) for array in layer.own)


class _LayerCache:
    def __init__(self) -> None:
        self.own: tuple[torch.Tensor, ...] = ()
        self.source: tuple[torch.Tensor, ...] = ()

    def extended(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.own:
            key, value = (torch.cat(pair, dim=2) for pair in zip(self.own, (key, value), strict=True))
        self.own = (key, value)
        return self.own

    def memory(self, make: Any) -> tuple[torch.Tensor, ...]:
        if not self.source:
            self.source = make()
        return self.source


def packed(lengths: Any, batch: int) -> bool:
    """Whether lengths are those of sequences packed into one row."""
    return lengths is not None and batch == 1 and len(lengths) > 1


def sequence_mask(lengths: Any, batch: int, length: int) -> am.Mask:
    """A token sees the real tokens of its own sequence.

    >>> sequence_mask([4, 2], 2, 4)
    padding([4, 2])
    >>> sequence_mask([4, 2], 1, 6)
    documents(lengths=[4, 2])
    """
    if lengths is None:
        return am.everything()
    sizes = [int(size) for size in lengths]
    if packed(sizes, batch) and sum(sizes) == length:
        return am.documents(lengths=sizes)
    if len(sizes) == batch and max(sizes) <= length:
        return am.padding(sizes)
    raise InputError(
        "lengths has one entry per row, or those of the sequences that fill one row",
        f"{sizes[:8]} for a batch of {batch} x {length}",
        "Count the real tokens of each row",
    )


def same_sequence(lengths: Any, source_lengths: Any) -> am.Mask:
    """A token of a packed target sees the packed source of its own sequence.

    >>> same_sequence([2, 1], [1, 3]).dense(am.Frame(3, 4, align="start"))[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 0, 0, 0],
           [0, 1, 1, 1]])
    """
    if lengths is None or len(lengths) != len(source_lengths):
        given = None if lengths is None else len(lengths)
        raise InputError(
            "target and source pack as many sequences", f"{given} and {len(source_lengths)}", "Pack both or none"
        )
    target, source = (
        [number for number, size in enumerate(sizes) for _ in range(size)] for sizes in (lengths, source_lengths)
    )
    return am.same(am.lookup(target, am.q), am.lookup(source, am.k))


def positions(lengths: Any, batch: int, length: int, past: int) -> torch.Tensor:
    """The position of each token (length,): within its sequence where they are packed."""
    if packed(lengths, batch):
        return torch.cat([torch.arange(int(size)) for size in lengths])
    return torch.arange(past, past + length)


def rotations(position: torch.Tensor, size: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of the turn of each pair of numbers at each position (length, size / 2)."""
    rates = 10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = position.double()[:, None] * rates
    return angles.cos().to(like), angles.sin().to(like)


def rotated(x: torch.Tensor, turns: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Queries or keys turned, so that their product depends on how far apart they stand only."""
    one, other = x.chunk(2, dim=-1)
    cos, sin = (part.to(x.dtype) for part in turns)
    return torch.cat([one * cos - other * sin, other * cos + one * sin], dim=-1)


def _start(module: nn.Module) -> None:
    """Weights before training: scores start small, because tokens are embedded and read off with the same numbers."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
