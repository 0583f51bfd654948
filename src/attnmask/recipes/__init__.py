"""Applications on real data, each one file that reads top to bottom: data, tokens, model, examples, scores.

A recipe is a file of this folder with two functions; commands find it by listing the folder:

    recipe(data, folder) -> Recipe       reads all data, and the tokenizer of an earlier start from ``folder``;
                                         writes nothing, so that bad data costs nothing
    answer(model, folder, text) -> str   what ``attnmask generate FOLDER TEXT`` prints

``data`` holds where examples come from, ``learn`` how a model learns from them; the other files are what some recipes share:
tokens of text, pairs of texts, layers alone. ``graphs`` and ``recall`` are small scripts of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from attnmask.errors import InputError

if TYPE_CHECKING:
    from attnmask.model.transformer import Config, Transformer


class Example(NamedTuple):
    """One sequence to learn.

    Attributes:
        target: token ids, from the first one given to the last one to predict.
        source: token ids for the encoder; empty for a decoder alone.
        given: tokens at the start of the target that are read, not learned; at least one.
        turns: the number of the turn that each token of the target belongs to; empty for what is no conversation.
    """

    target: list[int]
    source: list[int] = []  # noqa: RUF012 -- never changed
    given: int = 1
    turns: list[int] = []  # noqa: RUF012 -- never changed

    @property
    def size(self) -> int:
        """Tokens that the model reads: the target without its last one, and the source."""
        return len(self.target) - 1 + len(self.source)


@dataclass(frozen=True)
class Settings:
    """How a model is trained.

    Attributes:
        steps: updates of the weights; None for as many as the time allows.
        minutes: the time; what ends first, steps or minutes, ends the training.
        rate: the highest learning rate; it rises over the first updates and falls to 0 along a cosine.
        warm_up: updates until then.
        tokens: tokens of one batch, source and target together.
        smoothing: the share of probability that is spread over all tokens.
        decay: weight decay.
        clip: the longest gradient.
        evaluate_every: updates from one evaluation, and checkpoint, to the next.
        watched: held-out examples for the loss at each evaluation.
        scored: held-out examples for the free-running quality at each evaluation; 0 measures it at the end only.
        padded: one row per sequence, in the place of sequences packed into one row.
        precision: "no" or "bf16".
        seed: of weights, order and dropout.
        tensorboard: whether to write logs for TensorBoard.
    """

    steps: int | None = 1000
    minutes: float | None = None
    rate: float = 1e-3
    warm_up: int = 100
    tokens: int = 4096
    smoothing: float = 0.1
    decay: float = 0.01
    clip: float = 1.0
    evaluate_every: int = 200
    watched: int = 200
    scored: int = 0
    padded: bool = False
    precision: str = "no"
    seed: int = 0
    tensorboard: bool = False


class Recipe(Protocol):
    """One application, ready to train: its data is read.

    Attributes:
        config: the sizes of its model.
        settings: how it trains, unless the user says otherwise.
        train: what is learned.
        held_out: what is not; the loss is watched on it.
        measure: the name of the score to look at first.
    """

    config: Config
    settings: Settings
    train: list[Example]
    held_out: list[Example]
    measure: str

    def save(self, folder: Path) -> None:
        """Write what ``answer`` needs besides the model, for example a tokenizer."""

    def score(self, model: Transformer, limit: int | None = None) -> dict[str, float]:
        """Free-running quality on held-out data, ``measure`` among it; on ``limit`` examples, None for a thorough look at all."""

    def samples(self, model: Transformer, count: int) -> str:
        """Some results to look at."""

    def probe(self) -> dict[str, Any]:
        """A short batch of one for ``am.check``: the arguments of the model, the target first."""


@dataclass(frozen=True)
class Files:
    """Where the files of a training run stand in its folder."""

    folder: Path
    run: Path = field(init=False)
    checkpoint: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", self.folder / "run.json")
        object.__setattr__(self, "checkpoint", self.folder / "checkpoint.safetensors")


def names() -> list[str]:
    """The recipes of this folder.

    >>> {"summarize", "translate"} <= set(names())
    True
    """
    folder = Path(__file__).parent
    return sorted(path.stem for path in folder.glob("*.py") if "\ndef recipe(" in path.read_text(encoding="utf-8"))


def load(name: str) -> Any:
    """The module of a recipe.

    Raises:
        InputError: there is no recipe of this name.
    """
    from attnmask.errors import require

    if name not in names():
        raise InputError(f"a recipe is one of {', '.join(names())}", repr(name), "Run: attnmask train --help")
    return require(f"attnmask.recipes.{name}", "recipes")
