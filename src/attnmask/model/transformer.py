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
        masks: what else narrows the view of decoder layers, in notation: one for each layer in turn, with ; between.
        history: turns of a conversation before its own that a decoder token sees in a layer; None for all.
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
    masks: str = ""
    history: int | None = None

    def __post_init__(self) -> None:
        if self.dim % (2 * self.heads) or self.heads % self.kv_heads:
            sizes = f"dim {self.dim}, heads {self.heads}, kv_heads {self.kv_heads}"
            raise InputError("2 * heads divides dim, and kv_heads divides heads", sizes, "Write 256, 8 and 4")


class Transformer(nn.Module):  # type: ignore[misc]
    """Encoder, decoder, or both.

    >>> model = Transformer(Config(vocabulary=50, dim=32, heads=4, kv_heads=2, encoder_layers=1, decoder_layers=1, hidden=64))
    >>> target, source = torch.zeros(2, 5, dtype=torch.long), torch.zeros(2, 7, dtype=torch.long)
    >>> model(target, source, lengths=[5, 3], source_lengths=[7, 4]).shape
    torch.Size([2, 5, 50])
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.size = config, config.dim // config.heads
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        cross = config.encoder_layers > 0
        self.encoder = nn.ModuleList(Layer(config, cross=False) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(Layer(config, cross=cross) for _ in range(config.decoder_layers))
        self.encoded: Any = nn.RMSNorm(config.dim) if config.encoder_layers else None
        self.decoded: Any = nn.RMSNorm(config.dim) if config.decoder_layers else None
        self.masks = [am.parse(text) for text in config.masks.split(";") if text.strip()]
        self.apply(_start)

    def forward(self, target: torch.Tensor, source: torch.Tensor | None = None, **given: Any) -> torch.Tensor:
        """Scores (batch, length, vocabulary) of the token after each; features if there is no decoder. As ``features``."""
        hidden = self.features(target, source, **given)
        return self.scores(hidden) if self.config.decoder_layers else hidden

    def features(
        self,
        target: torch.Tensor,
        source: torch.Tensor | None = None,
        *,
        lengths: Any = None,
        source_lengths: Any = None,
        starts: Any = None,
        turns: Any = None,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """What the scores are read off (batch, length, dim): training needs those of real tokens only.

        Args:
            target: token ids (batch, length); those of the encoder if there is no decoder.
            source: token ids (batch, source length), where there is an encoder and a decoder.
            lengths: real tokens of each row; or, for a batch of one row, of each sequence packed into it.
            source_lengths: the same for the source.
            starts: the first real token of each row, where rows are padded on the left.
            turns: the number of the turn of each token in its conversation (batch, length), with those of the cache.
            cache: keys and values of earlier tokens, which this call extends.
        """
        if not self.config.decoder_layers:
            return self.encode(target, lengths)
        memory, cross = None, None if cache is None else cache.cross
        if self.config.encoder_layers and cross is None:
            memory, cross = self._source(target, source, lengths, source_lengths)
            if cache is not None:
                cache.cross = cross
        return self._decode(target, memory, cross, self._masks(target, lengths, starts, turns), lengths, cache)

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        """Scores (..., vocabulary) of the token after each; tokens are read off with the numbers they are embedded with."""
        return F.linear(features, self.embedding.weight)

    def encode(self, source: torch.Tensor, lengths: Any = None) -> torch.Tensor:
        """Features (batch, length, dim) of tokens that see all tokens of their sequence."""
        mask = sequence_mask(lengths, *source.shape)
        x = self.embedding(source)
        turns = rotations(positions(lengths, source.shape[0], source.shape[1], 0), self.size, x)
        for layer in self.encoder:
            x = layer(x, mask, am.Frame(source.shape[1]), turns)
        result: torch.Tensor = self.encoded(x)
        return result

    def _source(self, target: Any, source: Any, lengths: Any, source_lengths: Any) -> tuple[torch.Tensor, am.Mask]:
        if source is None:
            raise InputError("a model with an encoder takes a source", "source None", "Pass model(target, source)")
        if packed(source_lengths, source.shape[0]):
            cross = same_sequence(lengths, source_lengths)
        else:
            cross = sequence_mask(source_lengths, *source.shape)
        return self.encode(source, source_lengths), cross

    def _masks(self, target: Any, lengths: Any, starts: Any, turns: Any) -> list[am.Mask]:
        """What decoder tokens see: one mask for all layers, or one for each layer in turn."""
        batch, length = target.shape
        mask = sequence_mask(lengths, batch, length)
        if self.config.causal:
            mask = mask & am.window(None, self.config.ahead)  # window(None, 0) is causal()
        if starts is not None:
            mask = mask & (am.lookup(list(starts), am.b) <= am.k)
        if turns is not None and self.config.history is not None:
            mask = mask & recent(turns, self.config.history)
        return [mask & placed(narrower, lengths, starts, batch) for narrower in self.masks] or [mask]

    def _decode(self, target: Any, memory: Any, cross: Any, masks: Any, lengths: Any, cache: Any) -> torch.Tensor:
        batch, length = target.shape
        past = 0 if cache is None else cache.length
        frame = am.Frame(length, past + length, q_start=past)
        x = self.embedding(target)
        turns = rotations(positions(lengths, batch, length, past), self.size, x)
        for number, layer in enumerate(self.decoder):
            seen = masks[number % len(masks)]
            x = layer(x, seen, frame, turns, memory, cross, None if cache is None else cache.of(number))
        if cache is not None:
            cache.length += length
        result: torch.Tensor = self.decoded(x)
        return result


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
            x = x + self.drop(self.cross(self.norms[1](x), cross, memory=memory, cache=cache))
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

    def forward(
        self, x: Any, mask: Any, frame: Any = None, turns: Any = None, memory: Any = None, cache: Any = None
    ) -> torch.Tensor:
        """Tokens see tokens, those of the cache first; or, where nothing turns, a source, which the cache keeps."""
        query = self._heads(self.query(x), self.heads)
        if turns is None:
            key, value = cache.memory(lambda: self._keys(memory)) if cache is not None else self._keys(memory)
            frame = am.Frame(query.shape[2], key.shape[2], align="start")
        else:
            key, value = self._keys(x)
            query, key = rotated(query, turns), rotated(key, turns)
            if cache is not None:
                key, value = cache.extended(key, value)
        seen = am.attention(query, key, value, mask, frame=frame)
        result: torch.Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return result

    def _keys(self, x: Any) -> tuple[Any, Any]:
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self._heads(key, self.kv_heads), self._heads(value, self.kv_heads)

    def _heads(self, x: Any, heads: int) -> Any:
        return x.unflatten(2, (heads, self.size)).transpose(1, 2)  # (batch, heads, length, size)


class Cache:
    """Keys and values of the tokens so far, for each decoder layer; and those of the source, made once."""

    def __init__(self) -> None:
        self.length = 0
        self.cross: am.Mask | None = None
        self.layers: dict[int, _LayerCache] = {}

    def of(self, layer: int) -> _LayerCache:
        """The part of one layer."""
        return self.layers.setdefault(layer, _LayerCache())

    def select(self, rows: torch.Tensor) -> None:
        """Rows of the batch in another order, as beam search wants them; a row may come twice."""
        for layer in self.layers.values():
            layer.own = tuple(array.index_select(0, rows) for array in layer.own)


class _LayerCache:
    own: tuple[torch.Tensor, ...] = ()
    source: tuple[torch.Tensor, ...] = ()

    def extended(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.own:
            key, value = (torch.cat(pair, dim=2) for pair in zip(self.own, (key, value), strict=True))
        self.own = (key, value)
        return self.own

    def memory(self, make: Any) -> tuple[torch.Tensor, ...]:
        self.source = self.source or make()
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
    if len(sizes) == batch and max(sizes, default=0) <= length:
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
    counts = [None if sizes is None else len(sizes) for sizes in (lengths, source_lengths)]
    if counts[0] != counts[1]:
        raise InputError("target and source pack as many sequences", counts, "Pack both or none")
    target, source = (
        [number for number, size in enumerate(sizes) for _ in range(size)] for sizes in (lengths, source_lengths)
    )
    return am.same(am.lookup(target, am.q), am.lookup(source, am.k))


def recent(turns: Any, history: int) -> am.Mask:
    """A token sees the tokens of its own turn of a conversation, and of so many turns before it.

    >>> (recent([[0, 0, 1, 2]], 1) & am.causal()).dense(am.Frame(4))[0, 0].astype(int)
    array([[1, 0, 0, 0],
           [1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 0, 1, 1]])
    """
    numbers = torch.as_tensor(turns).tolist()
    mask: am.Mask = am.lookup(numbers, am.b, am.q) - am.lookup(numbers, am.b, am.k) <= history
    return mask


def placed(mask: am.Mask, lengths: Any, starts: Any, batch: int) -> am.Mask:
    """The mask with positions counted from the first token of each sequence."""
    if packed(lengths, batch):
        return mask.within(am.documents(lengths=list(lengths)))
    before = [-int(start) for start in starts or ()]
    return mask.shift(q=before, k=before) if before else mask


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
