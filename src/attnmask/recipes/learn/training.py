"""The training loop: one for all recipes, on any device and number of processes that ``accelerate`` finds.

Everything random in a step follows from the seed, the number of the step and that of the process. So a run that was
interrupted goes on bit for bit as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch.distributed.checkpoint import state_dict as distributed

from attnmask.errors import InputError
from attnmask.model.transformer import Transformer
from attnmask.recipes import Files, Recipe, Settings
from attnmask.recipes.learn import checkpoint
from attnmask.recipes.learn.batches import batch, rounds
from attnmask.recipes.learn.loss import Learner, mean_loss

FREE = ("steps", "minutes", "evaluate_every", "watched", "scored", "tensorboard")  # may change when a run goes on

Say = Callable[[str], None]
Bar = Callable[[int, float], None]


@dataclass
class State:
    """Where a run stands; the checkpoint holds it.

    Attributes:
        step: updates made.
        seconds: spent on them and on evaluations.
        tokens: read by the model.
        losses: the sum of losses since the last evaluation.
        learned: tokens in that sum.
        history: one entry per evaluation.
    """

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    losses: float = 0.0
    learned: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


class Trained(NamedTuple):
    """What training left: the model, its history, and whether it came to its end."""

    model: Transformer
    history: list[dict[str, float]]
    finished: bool


def train(recipe: Recipe, folder: Path, settings: Settings, about: dict[str, Any], *, say: Say, bar: Bar) -> Trained:
    """Train a recipe in a folder, or go on with the run that stands there.

    Args:
        recipe: data and model.
        folder: where the run is kept.
        settings: how to train.
        about: what a run must keep when it goes on besides, for example the name of its data.
        say: is told a line at each evaluation.
        bar: is told (step, fraction done) after each update.

    Raises:
        InputError: the folder holds another run.
        OSError: a checkpoint cannot be written; the one of before is kept.
    """
    return _Training(recipe, Files(Path(folder)), settings, about, say, bar).run()


class _Training:
    def __init__(
        self, recipe: Recipe, files: Files, settings: Settings, about: dict[str, Any], say: Say, bar: Bar
    ) -> None:
        self.recipe, self.files, self.settings, self.bar = recipe, files, settings, bar
        asked = settings.precision if settings.precision != "no" else None  # None: as accelerate launch says
        self.accelerator = Accelerator(
            mixed_precision=asked,
            log_with="tensorboard" if settings.tensorboard else None,
            project_dir=str(files.folder),
        )
        self.say = say if self.accelerator.is_main_process else lambda line: None
        begin(recipe, files, settings, about, write=self.accelerator.is_main_process)
        if settings.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        torch.manual_seed(settings.seed)
        learner = Learner(Transformer(recipe.config))
        self.learner, self.optimizer = self.accelerator.prepare(learner, optimizer_of(learner, settings))
        self.state = State()
        if files.checkpoint.exists():
            self.state = State(**checkpoint.restore(files.checkpoint, self.learner, self.optimizer.optimizer))
            self.say(f"going on after step {self.state.step}")
        self.started = time.monotonic() - self.state.seconds

    def run(self) -> Trained:
        with Interruption() as interruption:
            for found in self._rounds():
                if self._fraction() >= 1 or not self._step(found, interruption.asked):
                    break
                if self.state.step % self.settings.evaluate_every == 0 or self._fraction() >= 1:
                    self._evaluate()
                    self._save()
            finished = self._fraction() >= 1
            if not finished and self.state.step:
                self._save()
        self.accelerator.end_training()
        return Trained(self._plain(), self.state.history, finished)

    def _rounds(self) -> Iterator[list[list[int]]]:
        """The groups of examples of each step, from the next one on."""
        sizes = [example.size for example in self.recipe.train]
        every = rounds(sizes, self.settings.tokens, self.settings.seed, self.accelerator.num_processes)
        return islice(every, self.state.step, None)

    def _fraction(self) -> float:
        """How much of the training is done."""
        steps, minutes = self.settings.steps, self.settings.minutes
        return max(self.state.step / steps if steps else 0.0, self.state.seconds / (60 * minutes) if minutes else 0.0)

    def _step(self, found: list[list[int]], asked: bool) -> bool:
        """One update; or False and none, if any process is asked to stop."""
        state, settings, processes = self.state, self.settings, self.accelerator.num_processes
        examples = [self.recipe.train[index] for index in found[self.accelerator.process_index]]
        data = batch(examples, padded=settings.padded).to(self.accelerator.device)
        seconds = time.monotonic() - self.started
        mine = [data.learned, sum(example.size for example in examples), asked, seconds / processes]
        learned, tokens, stop, seconds = self.accelerator.reduce(
            torch.tensor(mine, dtype=torch.float32, device=self.accelerator.device)
        ).tolist()
        if stop:
            return False
        for group in self.optimizer.param_groups:
            group["lr"] = rate(settings, state.step, self._fraction())
        torch.manual_seed((settings.seed * 1_000_003 + state.step) * processes + self.accelerator.process_index)
        self.learner.train()
        loss = self.learner(data, settings.smoothing)
        self.accelerator.backward(loss * (processes / learned))  # the mean over processes is that over all tokens
        self.accelerator.clip_grad_norm_(self.learner.parameters(), settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        state.step += 1
        state.seconds = seconds
        state.tokens += int(tokens)
        state.losses += float(self.accelerator.reduce(loss.detach()))
        state.learned += int(learned)
        self.bar(state.step, min(1.0, self._fraction()))
        return True

    def _evaluate(self) -> None:
        state, settings = self.state, self.settings
        entry = {
            "step": state.step,
            "seconds": round(state.seconds, 3),
            "tokens": state.tokens,
            "training": state.losses / state.learned,
            "held_out": self._held_out(),
        }
        if settings.scored and self.accelerator.is_main_process:
            entry |= self.recipe.score(self._plain(), settings.scored)
        state.losses, state.learned = 0.0, 0
        state.history.append(entry)
        self.accelerator.log(entry, step=state.step)
        self.say("  ".join(f"{name} {_short(value)}" for name, value in entry.items()))

    def _held_out(self) -> float:
        settings = self.settings
        watched = self.recipe.held_out[: settings.watched]
        loss: float = mean_loss(self.learner, watched, settings.tokens, padded=settings.padded)
        return loss

    def _save(self) -> None:
        whole = checkpoint.collect(self.learner, self.optimizer.optimizer)
        if self.accelerator.is_main_process:
            checkpoint.save(self.files.checkpoint, whole, asdict(self.state))
        self.accelerator.wait_for_everyone()

    def _plain(self) -> Transformer:
        """A copy of the model without the wrappers that training puts around it."""
        whole = distributed.get_model_state_dict(self.learner, options=checkpoint.WHOLE)
        model: Transformer = Transformer(self.recipe.config).to(self.accelerator.device).eval()
        if whole:  # the main process has it
            model.load_state_dict({name.removeprefix("model."): value for name, value in whole.items()})
        return model


class Interruption:
    """Ctrl-C, or the end of a batch job, as a question that is answered between two steps; the second one is not asked."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.signal(number, self._before[number])


def begin(recipe: Recipe, files: Files, settings: Settings, about: dict[str, Any], *, write: bool) -> None:
    """Write what a run is into its folder; if one stands there already, it must be the same.

    Raises:
        InputError: it is another one.
    """
    examples = json.dumps(recipe.train).encode()
    new = about | {
        "examples": hashlib.sha256(examples).hexdigest(),
        "config": asdict(recipe.config),
        "settings": asdict(settings),
    }
    if files.checkpoint.exists() and files.run.exists():
        old = json.loads(files.run.read_text(encoding="utf-8"))
        changed = list(_changes(old, new))
        if changed:
            raise InputError(
                "a run goes on as it began",
                f"{files.folder}: {'; '.join(changed)}",
                "Take another --out, or the same options",
            )
    if write:
        files.folder.mkdir(parents=True, exist_ok=True)
        recipe.save(files.folder)
        checkpoint.replace_file(files.run, json.dumps(new, indent=1).encode())


def _changes(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Each value that is another one, in words."""
    for name, value in new.items():
        if isinstance(value, dict):
            yield from _changes(old.get(name, {}), value)
        elif name not in FREE and old.get(name) != value:
            yield f"{name} {old.get(name)} -> {value}"


def optimizer_of(learner: torch.nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW; only matrices decay, not the scales of norms."""
    matrices = [weight for weight in learner.parameters() if weight.dim() > 1]
    scales = [weight for weight in learner.parameters() if weight.dim() < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": settings.decay}, {"params": scales, "weight_decay": 0.0}],
        lr=settings.rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def rate(settings: Settings, step: int, fraction: float) -> float:
    """The learning rate: a straight rise over the first steps, under a cosine that falls to 0.

    >>> settings = Settings(rate=1.0, warm_up=10)
    >>> [round(rate(settings, step, step / 100), 2) for step in (0, 5, 10, 50, 100)]
    [0.1, 0.6, 0.98, 0.5, 0.0]
    """
    return settings.rate * min(1.0, (step + 1) / settings.warm_up) * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction)))


def _short(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
