"""The gallery in docs/ shows every kind of mask as it is now."""

from attnmask.define.kind import kinds
from examples.gallery import PAGE, page


def test_the_gallery_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python examples/gallery.py"


def test_every_kind_is_in_it():
    text = page()
    for name in kinds():
        assert f"## {name}\n" in text
