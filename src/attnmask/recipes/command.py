"""``attnmask train`` and ``attnmask generate``: options, and what is printed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from attnmask.errors import AttnmaskError, InputError, require
from attnmask.recipes import Files, Recipe, Settings, load

INTERRUPTED = 130  # the exit status of a command that Ctrl-C ended
SCORED = 64  # texts for the curve of free-running quality


def train_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``attnmask train``, but for the recipe."""
    parser.add_argument("--out", required=True, metavar="DIR", help="where the run is kept; one that is there goes on")
    parser.add_argument("--data", metavar="FILE|NAME", help=".tsv, .jsonl, .parquet, or a name (default: the recipe's)")
    parser.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long")
    parser.add_argument(
        "--mask", choices=("right", "none", "off-by-one"), default="right", help="break the mask, to see"
    )
    parser.add_argument("--compare", action="store_true", help="train with each --mask, and draw the curves")
    parser.add_argument("--padded", action="store_true", help="one row per sequence, not all packed into one row")
    parser.add_argument("--tokens", type=int, metavar="N", help="tokens of a batch")
    parser.add_argument("--rate", type=float, metavar="X", help="the highest learning rate")
    parser.add_argument("--precision", choices=("no", "bf16"), help="mixed precision")
    parser.add_argument("--evaluate-every", type=int, metavar="N", help="updates between evaluations and checkpoints")
    parser.add_argument("--seed", type=int, metavar="N", help="of weights, order and dropout")
    parser.add_argument("--tensorboard", action="store_true", default=None, help="write logs for TensorBoard")


def generate_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``attnmask generate``."""
    parser.add_argument("folder", metavar="DIR", help="of attnmask train")
    parser.add_argument("input", nargs="?", default="", metavar="INPUT", help="what the recipe answers to; - reads it")


def train(options: argparse.Namespace) -> int:
    """Train a recipe, or go on with the run in its folder."""
    require("torch", "recipes")
    recipe = load(options.recipe).recipe(options.data, Path(options.out))
    settings = _settings(recipe.settings, options)
    found = _compare(recipe, settings, options) if options.compare else _train(recipe, settings, options, options.mask)
    if found is None:
        print(f"stopped and saved; the same command goes on: {options.out}", file=sys.stderr)
        return INTERRUPTED
    print(json.dumps(found) if options.json else found["text"])
    return 0


def generate(options: argparse.Namespace) -> int:
    """Let a trained model answer."""
    require("torch", "recipes")
    from attnmask.model.transformer import Config, Transformer
    from attnmask.recipes.learn.checkpoint import weights

    files = Files(Path(options.folder))
    try:
        run = json.loads(files.run.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "generate takes the folder of a run", f"{files.run}: {error}", "Run: attnmask train RECIPE --out DIR"
        ) from None
    model = Transformer(Config(**run["config"])).eval()
    model.load_state_dict(weights(files.checkpoint)[0])
    given = sys.stdin.read() if options.input == "-" else options.input
    found = load(run["recipe"]).answer(model, files.folder, given)
    print(json.dumps({"recipe": run["recipe"], "input": given, "output": found}) if options.json else found)
    return 0


def main(name: str, arguments: list[str] | None = None) -> None:
    """One recipe as a script, as ``accelerate launch -m attnmask.recipes.translate`` wants it."""
    parser = argparse.ArgumentParser(prog=f"python -m attnmask.recipes.{name}")
    train_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    options = parser.parse_args(arguments)
    options.recipe = name
    try:
        sys.exit(train(options))
    except (AttnmaskError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(2)


def _settings(usual: Settings, options: argparse.Namespace) -> Settings:
    given = {field.name: getattr(options, field.name, None) for field in fields(Settings)}
    chosen = {name: value for name, value in given.items() if value is not None}
    if options.minutes is not None and options.steps is None:
        chosen["steps"] = None
    for name in ("steps", "minutes", "tokens", "rate", "evaluate_every"):
        if chosen.get(name) is not None and chosen[name] <= 0:
            raise InputError(f"--{name.replace('_', '-')} is above 0", chosen[name], "Give a larger one")
    return replace(usual, **chosen)


def _train(recipe: Recipe, settings: Settings, options: argparse.Namespace, mask: str, folder: str = "") -> Any:
    """Train with one mask; what to print, or None if it was interrupted."""
    from accelerate import PartialState

    from attnmask.recipes.learn.compare import masked
    from attnmask.recipes.learn.training import train as run

    recipe.config = masked(recipe.config, mask)
    about = {"recipe": options.recipe, "data": options.data, "mask": mask}
    with _progress(settings) as (say, bar):
        trained = run(recipe, Path(options.out) / folder, settings, about, say=say, bar=bar)
    if not trained.finished:
        return None
    if not PartialState().is_main_process:
        return {"text": ""}
    if folder:  # one of several, which are compared by their histories
        return {"history": trained.history}
    scores, samples = recipe.score(trained.model), recipe.samples(trained.model, 5)
    text = "\n".join(f"{name:20} {value}" for name, value in scores.items()) + f"\n\n{samples}"
    return {"scores": scores, "samples": samples, "history": trained.history, "text": text}


def _compare(recipe: Recipe, settings: Settings, options: argparse.Namespace) -> Any:
    """Train with each mask; the curves, as text and as a picture."""
    from attnmask.recipes.learn import compare

    usual = recipe.config
    settings = replace(settings, scored=settings.scored or SCORED)
    verdicts, histories = {}, {}
    for mask in compare.MASKS:
        verdicts[mask] = compare.verdict(recipe, compare.masked(usual, mask))
        print(f"mask {mask}: {verdicts[mask]}", file=sys.stderr)
    for mask in compare.MASKS:
        recipe.config = usual
        found = _train(recipe, settings, options, mask, folder=mask)
        if found is None:
            return None
        histories[mask] = found["history"]
    text = compare.table(histories, verdicts, recipe.measure)
    path = Path(options.out) / "compare.svg"
    compare.draw(histories, recipe.measure, path)
    print(f"written: {path}", file=sys.stderr)
    return {"verdicts": verdicts, "histories": histories, "text": text}


@contextmanager
def _progress(settings: Settings) -> Iterator[tuple[Any, Any]]:
    """A bar on the terminal, and lines above it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("step {task.fields[step]}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0, step=0)
        yield (
            lambda line: progress.console.print(line, markup=False),
            lambda step, fraction: progress.update(task, completed=fraction, step=step),
        )
