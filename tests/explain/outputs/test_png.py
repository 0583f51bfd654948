import io
import sys

import pytest

import attnmask as am
from attnmask.errors import InputError, MissingExtra
from attnmask.explain.picture import show
from attnmask.explain.worked import explain
from attnmask.page_style import COLOURS

image = pytest.importorskip("PIL.Image")


def opened(picture):
    return image.open(io.BytesIO(picture.png())).convert("RGB")


def colours(picture):
    found = opened(picture)
    return {"#" + "".join(f"{part:02x}" for part in colour) for _, colour in found.getcolors(1 << 24)}


def share(picture):
    """Pixels of visible cells among all pixels."""
    found = opened(picture)
    blue = tuple(int(COLOURS["visible"][0][at : at + 2], 16) for at in (1, 3, 5))
    pixels = {colour: count for count, colour in found.getcolors(1 << 24)}
    return pixels.get(blue, 0) / (found.width * found.height)


def test_visible_cells_are_filled_and_hidden_ones_hatched():
    assert COLOURS["visible"][0] in colours(show(am.everything(), 3))
    assert COLOURS["visible"][0] not in colours(show(am.nothing(), 3))
    assert COLOURS["hatch"][0] in colours(show(am.nothing(), 3))
    assert share(show(am.everything(), 20)) > 1.5 * share(show(am.causal(), 20)) > 0


def test_partial_blocks_have_a_colour_of_their_own():
    assert COLOURS["partial"][0] in colours(show(am.causal(), 300))


def test_large_masks_stay_small_files():
    assert len(show(am.causal(), 2000).png()) < 60_000


def test_it_is_the_same_bytes_each_time():
    picture = show(am.causal() & am.padding([3, 2]), 3, tokens=["a", "long token", "\x1b"])
    assert picture.png() == picture.png()


def test_an_example_has_too_much_for_a_png(tmp_path):
    with pytest.raises(InputError, match=r"a PNG shows masks only; got a document with a Section\. Save it as \.html"):
        explain("Hello there").save(tmp_path / "example.png")
    assert list(tmp_path.iterdir()) == []


def test_without_pillow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtra, match=r"pip install 'attnmask\[plot\]'"):
        show(am.causal(), 2).png()
