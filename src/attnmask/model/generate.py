"""Text from a model: the likeliest token, a drawn one, or a beam search; prompts of any lengths in one batch."""

from __future__ import annotations

from typing import Any

import torch

from attnmask.errors import InputError
from attnmask.model.transformer import Cache, Transformer


@torch.no_grad()  # type: ignore[untyped-decorator]
def generate(
    model: Transformer,
    prompts: list[list[int]],
    sources: list[list[int]] | None = None,
    *,
    most: int,
    end: int,
    beams: int = 1,
    temperature: float = 0.0,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    turns: list[list[int]] | None = None,
) -> list[list[int]]:
    """The tokens after each prompt: the likeliest one each time, or drawn, or the likeliest sequence of a beam search.

    Args:
        model: a model with a decoder.
        prompts: token ids, of any lengths; each holds at least one.
        sources: token ids for the encoder, one list per prompt.
        most: tokens at most.
        end: the token that ends a sequence; it is not part of the result.
        beams: sequences that are followed at once for each prompt.
        temperature: 0 takes the likeliest token; 1 draws as the model says, less is closer to the likeliest.
        top_p: draw from the likeliest tokens that together have this probability.
        generator: where chance comes from.
        turns: the turn of each token of each prompt; new tokens belong to the last one.
    """
    if most < 1 or not prompts or not all(prompts):
        sizes = [len(prompt) for prompt in prompts]
        raise InputError("prompts hold a token each, and most is at least 1", f"{sizes} tokens, {most=}", "Add a start")
    training = model.training
    model.eval()
    try:
        decoding = _Decoding(model, prompts, sources, beams, turns)
        if beams > 1:
            return _beam_search(decoding, beams, most, end)
        scores, done, drawn = decoding.first, torch.zeros(len(prompts), dtype=torch.bool), []
        for _ in range(most):
            token = _draw(scores, temperature, top_p, generator)
            drawn.append(torch.where(done.to(token.device), end, token))
            done = done | (drawn[-1] == end).cpu()
            if done.all() or len(drawn) == most:
                break
            scores = decoding.step(drawn[-1])
        return [_until(end, row) for row in torch.stack(drawn, dim=1).tolist()]
    finally:
        model.train(training)


class _Decoding:
    """Prompts padded on the left, so that all continue in the same column."""

    def __init__(
        self, model: Transformer, prompts: list[list[int]], sources: Any, beams: int, turns: Any = None
    ) -> None:
        repeated = [prompt for prompt in prompts for _ in range(beams)]
        longest, device = max(map(len, prompts)), model.embedding.weight.device
        self.model, self.cache = model, Cache()
        self.starts = [longest - len(prompt) for prompt in repeated]
        ids = torch.tensor(
            [[0] * start + prompt for start, prompt in zip(self.starts, repeated, strict=True)], device=device
        )
        self.turns = None
        if turns is not None:
            of_rows = [numbers for numbers in turns for _ in range(beams)]
            self.turns = [[0] * (longest - len(numbers)) + numbers for numbers in of_rows]
        given: dict[str, Any] = {}
        if sources is not None:
            of_rows = [source for source in sources for _ in range(beams)]
            widest = max(map(len, of_rows))
            given["source"] = torch.tensor([source + [0] * (widest - len(source)) for source in of_rows], device=device)
            given["source_lengths"] = [len(source) for source in of_rows]
        self.first = self._scores(ids, **given)

    def step(self, token: torch.Tensor) -> torch.Tensor:
        """The log-probabilities (rows, vocabulary) after one more token in each row."""
        if self.turns is not None:
            self.turns = [[*numbers, numbers[-1]] for numbers in self.turns]
        return self._scores(token[:, None])

    def _scores(self, ids: torch.Tensor, **source: Any) -> torch.Tensor:
        starts = self.starts if any(self.starts) else None
        logits = self.model(ids, starts=starts, turns=self.turns, cache=self.cache, **source)
        return logits[:, -1].float().log_softmax(-1)


def _draw(scores: torch.Tensor, temperature: float, top_p: float, generator: Any) -> torch.Tensor:
    if temperature == 0:
        return scores.argmax(-1)
    chances, order = (scores / temperature).softmax(-1).sort(descending=True)
    likelier = chances.cumsum(-1) - chances  # the chance of all likelier tokens together
    place = torch.multinomial(chances.masked_fill(likelier >= top_p, 0.0), 1, generator=generator)
    return order.gather(1, place)[:, 0]


def _beam_search(decoding: _Decoding, beams: int, most: int, end: int) -> list[list[int]]:
    """The sequence of the highest mean log-probability per token among those that were followed."""
    scores = decoding.first
    batch = scores.shape[0] // beams
    first_row = torch.arange(batch, device=scores.device)[:, None] * beams
    total = scores.new_full((batch, beams), -torch.inf)
    total[:, 0] = 0.0  # all beams start from the same prompt
    tokens = torch.zeros(batch * beams, 0, dtype=torch.long, device=scores.device)
    done = torch.zeros(batch * beams, dtype=torch.bool, device=scores.device)
    for _ in range(most):
        stay = torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor(end, device=scores.device), 0.0)
        scores = torch.where(done[:, None], stay, scores)
        sums = (total[..., None] + scores.view(batch, beams, -1)).flatten(1)
        total, place = sums.topk(beams)
        origin = (first_row + place // scores.shape[1]).flatten()
        token = (place % scores.shape[1]).flatten()
        tokens = torch.cat([tokens[origin], token[:, None]], dim=1)
        done = done[origin] | (token == end)
        if done.all() or tokens.shape[1] == most:
            break
        decoding.cache.select(origin)
        scores = decoding.step(token)
    ends = tokens == end
    lengths = (~ends).sum(1) + ends.any(1)  # the end counts, where one was reached
    best = (first_row[:, 0] + (total / lengths.view(batch, beams)).argmax(1)).tolist()
    rows = tokens.tolist()
    return [_until(end, rows[row]) for row in best]


def _until(end: int, tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens
