"""Pictures as PNG files, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from attnmask.errors import InputError
from attnmask.recipes.data.images import GREYS, Ints

CELL = 6  # screen pixels of one pixel
GAP = 1  # pixels between two pictures


def sheet(rows: Sequence[Sequence[Ints]], path: Path) -> None:
    """Write pictures, row by row, into one PNG: dark on white; a row may be shorter than the first."""
    blank = np.zeros_like(rows[0][0])
    full = ([*row, *[blank] * (len(rows[0]) - len(row))] for row in rows)
    whole = np.concatenate([np.concatenate([_framed(one) for one in row], axis=1) for row in full])
    grey = 255 - whole * 255 // (GREYS - 1)
    Image.fromarray(grey.repeat(CELL, 0).repeat(CELL, 1).astype(np.uint8)).save(path)


def read(path: Path, shape: tuple[int, int]) -> Ints:
    """A picture of dark on white, scaled to height and width, as greys 0 .. 16.

    Raises:
        InputError: the file is no picture.
    """
    try:
        with Image.open(path) as picture:
            scaled = picture.convert("L").resize(shape[::-1], Image.Resampling.BOX)
    except OSError as error:
        raise InputError("the file is a picture", f"{path}: {error}", "Give a PNG, dark on white") from None
    greys: Ints = np.rint((255 - np.asarray(scaled, dtype=float)) * (GREYS - 1) / 255).astype(np.int64)
    return greys


def _framed(picture: Ints) -> Ints:
    return np.pad(picture, GAP)
