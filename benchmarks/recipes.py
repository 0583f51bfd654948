"""The recipes on real data, and docs/recipes.md with their figures.

    python benchmarks/recipes.py train translate --data debian:it --minutes 60 --precision bf16
    python benchmarks/recipes.py train summarize --minutes 18 --precision bf16
    python benchmarks/recipes.py train chat
    python benchmarks/recipes.py train paint                                       also --data digits:near, digits:axial
    python benchmarks/recipes.py compare translate --steps 500 --tokens 2048 --evaluate-every 100
    python benchmarks/recipes.py packing           tokens per second, packed and padded, on Debian's lengths
    python benchmarks/recipes.py graphs            also recall: what these print
    python benchmarks/recipes.py page              docs/recipes.md again, from benchmarks/results/recipes.json

Options behind a recipe's name go to ``attnmask train``. A run that was interrupted goes on with the same command.
"""

import itertools
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from attnmask.model.transformer import Transformer
from attnmask.recipes import load
from attnmask.recipes.learn.batches import batch, rounds
from attnmask.recipes.learn.loss import Learner
from attnmask.recipes.learn.training import optimizer_of
from benchmarks.measure import RESULTS, loaded, save

RUNS = Path(__file__).resolve().parents[1] / "build" / "recipes"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"
PICTURES = ("compare.svg", "painted.png")
PAINTED = "0123456789" * 6  # six pictures of each class
ROUNDS = 6  # batches of each kind that are timed

HEAD = """\
# Recipes: what they reach

Written by `python benchmarks/recipes.py`; seeds are fixed, the machine and the versions are in
`benchmarks/results/recipes.json`. Held-out texts share no template with what was trained on: names, numbers and rare words
taken out, no two sides have a text in common (`src/attnmask/recipes/data/split.py`).
"""

MEANING = {
    "bleu": "BLEU, beam search",
    "bleu_copy": "of the source as it is",
    "bleu_dictionary": "of a word-by-word dictionary learned from the same data",
    "bleu_nearest": "of the translation of the training source that is most alike",
    "bleu_far": "ours, on texts that no training source is half alike (cosine of tf-idf under 0.5)",
    "texts_far": "how many these are",
    "texts": "held-out texts",
    "rouge_l": "ROUGE-L, beam search",
    "rouge_l_first_words": "of the first six words",
    "margin_low": "the difference, paired bootstrap, 2.5 %",
    "margin_high": "97.5 %",
    "chrf": "chrF of replies, greedy",
    "chrf_nearest": "of what followed in training on the turn that is most alike",
    "exact": "% of replies that are, word for word, what was said",
    "exact_nearest": "the same of the nearest neighbour",
    "perplexity": "per token of held-out replies",
    "perplexity_unigram": "of how frequent each token is",
    "replies": "held-out replies",
    "recognised": "% of paintings that a classifier of real digits takes for what they shall be",
    "recognised_real": "% of real held-out digits that it knows",
    "recognised_halves": "% of held-out digits that it knows when their lower half is painted anew",
    "bits": "bits per pixel, held out",
    "bits_independent": "of counts by class and place",
    "bits_row_markov": "of counts of neighbours in a row",
}


def train(recipe: str, options: list[str], name: str) -> dict:
    """Run ``attnmask train`` as a user does; what it printed."""
    out = RUNS / name
    command = ["-m", "attnmask", "train", recipe, "--out", str(out), "--json", *options]
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout)
    found.pop("text", None)
    if recipe == "paint":
        subprocess.run([sys.executable, "-m", "attnmask", "generate", str(out), PAINTED], check=True)
    for picture in PICTURES:
        if (out / picture).exists():
            shutil.copy(out / picture, PAGE.parent / f"{name}{Path(picture).suffix}")
    return found | {"command": f"attnmask train {recipe} {' '.join(options)}"}


def packing() -> dict:
    """Real tokens per second of training steps, packed, padded, and padded with similar lengths together."""
    recipe = load("translate").recipe("debian:it", Path("none"))
    sizes = [example.size for example in recipe.train]
    tokens = recipe.settings.tokens
    mixed = list(itertools.islice(rounds(sizes, tokens, seed=0), ROUNDS))
    learner = Learner(Transformer(recipe.config))
    optimizer = optimizer_of(learner, recipe.settings)
    took = dict.fromkeys(("packed", "padded", "padded, by length"), 0.0)
    read = dict.fromkeys(took, 0)
    for number, (group,) in enumerate([mixed[0], *mixed]):  # the first one warms up
        near = _of_similar_length(recipe.train, sum(sizes[index] for index in group), number)
        for kind in took:
            chosen = near if kind == "padded, by length" else [recipe.train[index] for index in group]
            data = batch(chosen, padded=kind != "packed")
            started = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                loss = learner(data, 0.1)
            (loss / data.learned).backward()
            optimizer.step()
            optimizer.zero_grad()
            if number:
                took[kind] += time.perf_counter() - started
                read[kind] += sum(example.size for example in chosen)
    return {kind: read[kind] / took[kind] for kind in took}


def _of_similar_length(examples: list, tokens: int, seed: int) -> list:
    """So many tokens of examples that stand side by side when all are sorted by length."""
    ordered = sorted(examples, key=lambda example: (len(example.source), len(example.target)))
    place = int(torch.randint(len(ordered) - tokens // 4, (1,), generator=torch.Generator().manual_seed(seed)))
    chosen = []
    while sum(example.size for example in chosen) < tokens:
        chosen.append(ordered[place + len(chosen)])
    return chosen


def page(results: dict) -> str:
    """All results as Markdown."""
    parts = [HEAD]
    for name, found in results.items():
        if "printed" in found:
            parts.append(_printed(name, found))
        elif name == "packing":
            parts.append(_packing(found))
        elif "verdicts" in found:
            parts.append(_compared(name, found))
        else:
            parts.append(_trained(name, found))
    return "\n".join(parts)


def _trained(name: str, found: dict) -> str:
    last = found["history"][-1]
    rows = [f"| {score} | {value} | {MEANING.get(score, '')} |" for score, value in found["scores"].items()]
    rate = last["tokens"] / last["seconds"]
    return "\n".join(
        [
            f"## {name}",
            f"\n`{found['command']}`: {last['step']} steps, {last['tokens']:,} tokens in {last['seconds'] / 60:.0f} minutes "
            f"({rate:,.0f} a second, evaluations included); held-out loss {last['held_out']:.3f} nats per token.\n",
            "| score | | |\n| --- | --- | --- |",
            *rows,
            f"\n```text\n{found['samples']}\n```\n",
            *([f"![pictures that the model painted]({name}.png)\n"] if found["command"].split()[2] == "paint" else []),
        ]
    )


def printed(name: str) -> dict:
    """What a small script of the recipes prints."""
    command = [sys.executable, "-m", f"attnmask.recipes.{name}"]
    return {"printed": subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout}


def _printed(name: str, found: dict) -> str:
    return f"## {name}\n\n`python -m attnmask.recipes.{name}`\n\n```text\n{found['printed'].rstrip()}\n```\n"


def _compared(name: str, found: dict) -> str:
    measure = next(key for key in reversed(found["histories"]["right"][-1]))
    rows = [
        f"| {mask} | {found['verdicts'][mask]} | {history[-1]['training']:.3f} | {history[-1]['held_out']:.3f} "
        f"| {history[-1][measure]:.1f} |"
        for mask, history in found["histories"].items()
    ]
    head = f"| mask | am.check, before the first step | training loss | held-out loss | {measure}, free-running |"
    parts = [
        f"## {name}: the cheat, shown",
        f"\n`{found['command']}`\n",
        head,
        "| --- | --- | --- | --- | --- |",
        *rows,
    ]
    return "\n".join([*parts, f"\n![both curves]({name}.svg)\n"])


def _packing(found: dict) -> str:
    rows = [f"| {kind} | {rate:,.0f} | {found['packed'] / rate:.2f} |" for kind, rate in found.items()]
    return "\n".join(
        [
            "## Packed and padded",
            "\nReal tokens per second of whole training steps on Debian's lengths, the same model in bfloat16, side by side.\n",
            "| batch | tokens per second | packed is faster by |\n| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def measured(what: str, options: list[str]) -> dict:
    """The results of one command of this script, by the name under which they are kept."""
    if what == "packing":
        return {what: packing()}
    if what not in ("train", "compare"):
        return {what: printed(what)}
    recipe, *options = options
    data = options[options.index("--data") + 1].split(":") if "--data" in options else []
    name = "-".join([recipe, *data, *(["compare"] if what == "compare" else [])])
    return {name: train(recipe, options + ["--compare"] * (what == "compare"), name)}


def main() -> None:
    what, *options = sys.argv[1:] or ["page"]
    found = {} if what == "page" else measured(what, options)
    results = (loaded("recipes") if (RESULTS / "recipes.json").exists() else {}) | found
    save("recipes", results)
    PAGE.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
