"""The cheat, shown: one model trained with the right mask, without one, and with one that is off by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import attnmask as am
from attnmask.errors import require
from attnmask.model.transformer import Config, Transformer
from attnmask.recipes import Recipe

MASKS: dict[str, dict[str, Any]] = {"right": {}, "none": {"causal": False}, "off-by-one": {"ahead": 1}}
LOSS = "held_out"

History = list[dict[str, float]]


def masked(config: Config, mask: str) -> Config:
    """A model with the right mask of its decoder, with none, or with one that shows a token too many.

    >>> masked(Config(vocabulary=10), "off-by-one").ahead
    1
    """
    return replace(config, **MASKS[mask])


def verdict(recipe: Recipe, config: Config) -> str:
    """What ``am.check`` says of a model that has not made a single step."""
    torch.manual_seed(0)
    inputs = recipe.probe()
    report = am.check(Transformer(config), inputs, vary=next(iter(inputs)), allowed=am.causal())
    if report.ok:
        return report.verdict
    leak = report.leaks[0]
    return f"{report.verdict}: output {leak.query} depends on token {leak.key}"


def table(histories: Mapping[str, History], verdicts: Mapping[str, str], measure: str) -> str:
    """The last loss and quality of each run, and what was said of it before it began."""
    lines = [f"{'mask':11} {'loss':>8} {measure:>10}  am.check, before the first step"]
    for mask, history in histories.items():
        last = history[-1]
        lines.append(f"{mask:11} {last[LOSS]:8.3f} {last[measure]:10.2f}  {verdicts[mask]}")
    return "\n".join(lines)


def draw(histories: Mapping[str, History], measure: str, path: Path) -> None:
    """Both curves of each run, as .svg, .png or .pdf: the loss with the right tokens given, and the quality without."""
    figure = require("matplotlib.figure", "recipes").Figure(figsize=(9, 3.6), layout="constrained")
    titles = {LOSS: "teacher-forced loss on held-out data (nats)", measure: f"free-running quality ({measure})"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for mask, history in histories.items():
            axes.plot([entry["step"] for entry in history], [entry[name] for entry in history], marker=".", label=mask)
        axes.set(title=title, xlabel="step", ylim=(0, None))
        axes.legend(title="mask")
    figure.savefig(path)
