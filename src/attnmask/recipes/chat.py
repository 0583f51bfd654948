"""Conversations: a decoder alone that answers, and sees as much of what was said before as its mask shows.

attnmask train chat --out runs/chat                              chatterbot-corpus in English, a minute
attnmask train chat --data chatterbot:italian --out runs/it
attnmask train chat --data mine.jsonl --out runs/mine            lines of {"turns": ["Hello", "Hi", "How are you?"]}
attnmask generate runs/chat "How are you?"                       each line of the input is a turn

A conversation is one sequence, in which the end of a turn opens the next; all turns but the first are learned at once:

    BEGIN  How  are  you  END  Fine  END  Good  END
      0     0    0    0    1     1    2     2             the turn that each token belongs to

    causal()                                              a token sees what was said before it
    lookup(turns, b, q) - lookup(turns, b, k) <= 2        ... in its own turn and the two before, in each layer
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import sacrebleu
import torch
from tokenizers import Tokenizer

from attnmask.errors import InputError
from attnmask.model.generate import generate
from attnmask.model.transformer import Config, Transformer
from attnmask.recipes import Example, Settings, text
from attnmask.recipes.data import chatterbot, files
from attnmask.recipes.data.split import split, words
from attnmask.recipes.learn.loss import Learner, mean_loss
from attnmask.recipes.neighbours import nearest
from attnmask.recipes.text import BEGIN, END

Turns = tuple[str, ...]

HISTORY = 2  # turns before its own that a token sees in a layer
LONGEST = (60, 256)  # tokens of a turn, and of a conversation
VOCABULARY = 2000  # some ten thousand words are no more than this worth
ROWS = 64  # replies that are written at once


def recipe(data: str | None, folder: Path) -> Chat:
    """Conversations of ``chatterbot:LANGUAGE`` (English if None), or of a file with a list of turns in each row."""
    name, _, language = (data or "chatterbot:english").partition(":")
    own = name == "chatterbot"
    return Chat(chatterbot.conversations(language or "english") if own else files.conversations(str(data)), folder)


def answer(model: Transformer, folder: Path, said: str) -> str:
    """The reply to a conversation, of which each line is a turn.

    Raises:
        InputError: nothing was said.
    """
    turns = tuple(line.strip() for line in said.splitlines() if line.strip())
    if not turns:
        raise InputError("this recipe answers to a conversation", repr(said), 'Run: attnmask generate DIR "Hello"')
    return replies(model, text.load(folder), [turns])[0]


class Chat:
    """Conversations, split by how they open; the model; perplexity, and replies beside those of the nearest neighbour."""

    measure = "chrf"

    def __init__(self, found: Sequence[Turns], folder: Path) -> None:
        self.known, watched, final = split(found, lambda turns: turns[0], templates=words)
        self.asked = unheard(final, self.known)
        if not watched or not self.asked:
            raise InputError("some conversations are held out", f"{len(found)}, too few", "Give a hundred or more")
        self.tokenizer = text.learn_or_load(folder, (turn for turns in self.known for turn in turns), VOCABULARY)
        self.train = [example(self.tokenizer, turns) for turns in self.known]
        self.held_out = [example(self.tokenizer, turns) for turns in watched]
        self.final = [example(self.tokenizer, turns) for turns in final]
        size = self.tokenizer.get_vocab_size()
        self.config = Config(
            size, dim=128, heads=4, kv_heads=2, decoder_layers=3, hidden=384, dropout=0.3, history=HISTORY
        )
        self.settings = Settings(steps=300, rate=2e-3, warm_up=50, tokens=2048, evaluate_every=50)

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        text.save(self.tokenizer, folder)

    def score(self, model: Transformer, limit: int | None = None) -> dict[str, float]:
        """chrF of replies; a thorough look counts exact ones too, and takes perplexity, each with a baseline beside."""
        asked = self.asked[:limit]
        wanted = [turns[-1] for turns in asked]
        before = [turns[:-1] for turns in asked]
        ours = replies(model, self.tokenizer, before)
        found = {"chrf": chrf(ours, wanted)}
        if limit is None:
            theirs = as_before(self.known, before)
            found |= {
                "chrf_nearest": chrf(theirs, wanted),
                "exact": exact(ours, wanted),
                "exact_nearest": exact(theirs, wanted),
                "perplexity": math.exp(mean_loss(Learner(model), self.final)),
                "perplexity_unigram": unigram_perplexity(self.train, self.final, self.config.vocabulary),
                "replies": len(asked),
            }
        return {name: round(value, 2) for name, value in found.items()}

    def samples(self, model: Transformer, count: int) -> str:
        """Some held-out conversations, those of most turns first, and what the model says in the place of the last turn."""
        longest = {turns[0]: turns for turns in sorted(self.asked, key=len)}
        chosen = sorted(longest.values(), key=len, reverse=True)[:count]
        written = replies(model, self.tokenizer, [turns[:-1] for turns in chosen])
        lines = ([*(f"- {turn}" for turn in turns), f"> {reply}"] for turns, reply in zip(chosen, written, strict=True))
        return "\n\n".join("\n".join(each) for each in lines)

    def probe(self) -> dict[str, Any]:
        """The conversation that has the most turns among its first tokens."""
        chosen = max(self.train, key=lambda one: (one.turns[:16][-1], -len(one.turns)))
        return {"target": torch.tensor([chosen.target[:16]]), "turns": torch.tensor([chosen.turns[:16]])}


def sequence(rows: Sequence[list[int]]) -> tuple[list[int], list[int]]:
    """The tokens of a conversation, and the turn that each belongs to; who comes next has the floor.

    >>> sequence([[7, 8], [9]])
    ([1, 7, 8, 2, 9, 2], [0, 0, 0, 1, 1, 2])
    """
    tokens, turns = [BEGIN], [0]
    for number, row in enumerate(rows):
        tokens += [*row, END]
        turns += [number] * len(row) + [number + 1]
    return tokens, turns


def example(tokenizer: Tokenizer, turns: Turns) -> Example:
    """A conversation to learn: all but its first turn."""
    rows = _rows(tokenizer, turns)
    tokens, numbers = sequence(rows)
    return Example(tokens[: LONGEST[1]], given=len(rows[0]) + 2, turns=numbers[: LONGEST[1]])


def _rows(tokenizer: Tokenizer, turns: Turns) -> list[list[int]]:
    return [row[: LONGEST[0]] for row in text.encode(tokenizer, list(turns))]


def replies(model: Transformer, tokenizer: Tokenizer, before: Sequence[Turns]) -> list[str]:
    """What the model says after each of these conversations."""
    written: list[str] = []
    for start in range(0, len(before), ROWS):
        given = [sequence(_rows(tokenizer, turns)) for turns in before[start : start + ROWS]]
        prompts, numbers = (list(column) for column in zip(*given, strict=True))
        written += text.decode(tokenizer, generate(model, prompts, most=LONGEST[0], end=END, turns=numbers))
    return written


def unheard(final: Sequence[Turns], known: Sequence[Turns]) -> list[Turns]:
    """Each turn but the first with all before it, unless training knows it as the answer to the same turn.

    >>> unheard([("Hi", "Hello", "Bye", "Bye")], [("hello", "bye")])
    [('Hi', 'Hello'), ('Hi', 'Hello', 'Bye', 'Bye')]
    """
    heard = {pair for turns in known for pair in pairwise(words(list(turns)))}
    return [
        turns[: place + 2]
        for turns in final
        for place, pair in enumerate(pairwise(words(list(turns))))
        if pair not in heard
    ]


def as_before(known: Sequence[Turns], before: Sequence[Turns]) -> list[str]:
    """The baseline: what followed in training on the turn that is most like the last one.

    >>> as_before([("what is the moon", "a stone"), ("what is the sun", "a star")], [("tell me", "the sun?")])
    ['a star']
    """
    pairs = [pair for turns in known for pair in pairwise(turns)]
    found = nearest([one for one, _ in pairs], [turns[-1] for turns in before])
    return [pairs[neighbour.place][1] for neighbour in found]


def chrf(written: Sequence[str], wanted: Sequence[str]) -> float:
    """How many stretches of letters replies share with those that were given, from 0 to 100 (Popović 2015)."""
    return float(sacrebleu.corpus_chrf(list(written), [list(wanted)]).score)


def exact(written: Sequence[str], wanted: Sequence[str]) -> float:
    """Percent of replies that are, word for word, what was said.

    >>> exact(["That's good.", "No"], ["that's good", "Yes"])
    50.0
    """
    return (
        100
        * sum(one == other for one, other in zip(words(list(written)), words(list(wanted)), strict=True))
        / len(wanted)
    )


def unigram_perplexity(known: Sequence[Example], tested: Sequence[Example], vocabulary: int) -> float:
    """The baseline: each token as likely as it is frequent, whatever stands before it."""
    counts = Counter(token for one in known for token in one.target[one.given :])
    learned = [token for one in tested for token in one.target[one.given :]]
    total = counts.total() + vocabulary  # each token counts once more, so that none is impossible
    return math.exp(-sum(math.log((counts[token] + 1) / total) for token in learned) / len(learned))


if __name__ == "__main__":
    from attnmask.recipes.command import main

    main("chat")
