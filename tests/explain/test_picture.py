import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameError, InputError
from attnmask.explain.picture import DRAWN_CELLS, MOST_GRIDS, TEXT_CELLS, show

PICTURES = [
    (
        show(am.causal(), 4),
        """\
causal(): 4 queries x 4 keys, 10 of 16 visible (62.5 %)
    0 1 2 3
  0 ■ · · ·
  1 ■ ■ · ·
  2 ■ ■ ■ ·
  3 ■ ■ ■ ■""",
    ),
    (
        show(am.causal(), am.Frame(2, 5, align="end")),
        """\
causal(): 2 queries x 5 keys, 9 of 10 visible (90.0 %)
    0 1 2 3 4
  3 ■ ■ ■ ■ ·
  4 ■ ■ ■ ■ ■""",
    ),
    (
        show(am.padding([3, 2]), am.Frame(1, 4)),
        """\
padding([3, 2]): 1 queries x 4 keys, 5 of 8 visible (62.5 %)
batch 0
    0 1 2 3
  0 ■ ■ ■ ·
batch 1
    0 1 2 3
  0 ■ ■ · ·""",
    ),
    (
        show(am.window(1), am.Frame(2, 12, q_start=9)),
        """\
window(1): 2 queries x 12 keys, 4 of 24 visible (16.7 %)
                         1 1
     0 1 2 3 4 5 6 7 8 9 0 1
   9 · · · · · · · · ■ ■ · ·
  10 · · · · · · · · · ■ ■ ·""",
    ),
    (
        show(am.causal(), 3, tokens=["I", "love", "it"]),
        """\
causal(): 3 queries x 3 keys, 6 of 9 visible (66.7 %)
       I love it
     I ■  ·   ·
  love ■  ■   ·
    it ■  ■   ■""",
    ),
    (
        show(am.causal(), am.Frame(2, 3, q_start=2), tokens=["a", "b", "c"]),
        """\
causal(): 2 queries x 3 keys, 6 of 6 visible (100.0 %)
    a b c
  c ■ ■ ■
  3 ■ ■ ■""",
    ),
    (
        show(am.padding(1), am.Frame(1, 2), tokens=["a", "b"]),  # cross-attention: the query is no key
        """\
padding(1): 1 queries x 2 keys, 1 of 2 visible (50.0 %)
    a b
  0 ■ ·""",
    ),
]


@pytest.mark.parametrize(("picture", "text"), PICTURES, ids=[str(picture.mask) for picture, _ in PICTURES])
def test_text(picture, text):
    assert picture.text() == repr(picture) == str(picture) == text


def test_heads_are_named_where_they_differ():
    table = np.zeros((2, 2, 1, 1), dtype=bool)
    captions = [line for line in show(am.table(table), 1).text().splitlines() if line.startswith("batch")]
    assert captions == ["batch 0, head 0", "batch 0, head 1", "batch 1, head 0", "batch 1, head 1"]
    assert "\nhead 1\n" in show(am.table(table[:1]), 1).text()


@pytest.mark.parametrize(("fill", "sign", "cell"), [(False, "·", (57, 93)), (True, "■", (99, 0))])
def test_one_position_among_many_is_never_lost(fill, sign, cell):
    """One cell unlike all others makes its block partial, and leaves the other blocks whole."""
    array = np.full((100, 100), fill)
    array[cell] = not fill
    grid = show(am.table(array), 100).describe("text")[-1]
    kinds = np.array(grid.cells)
    assert kinds.shape == (34, 34)
    assert kinds[cell[0] // 3, cell[1] // 3] == "partial"
    assert set(np.unique(kinds)) == {"partial", "visible" if fill else "hidden"}
    assert np.count_nonzero(kinds == "partial") == 1
    picture = show(am.table(array), 100)
    assert "▨" in picture.text()
    assert "each cell stands for 3 queries x 3 keys" in picture.text()


def test_shares_are_0_and_100_only_where_they_are_exact():
    array = np.zeros((100, 100), dtype=bool)
    array[0, 0] = True
    assert show(am.table(array), 100).title.endswith("1 of 10000 visible (< 0.1 %)")
    assert show(am.table(~array), 100).title.endswith("9999 of 10000 visible (> 99.9 %)")
    assert show(am.nothing(), 100).title.endswith("(0.0 %)")


def test_a_picture_in_blocks_agrees_with_the_dense_mask():
    mask, frame, step = am.window(30) & am.padding([90, 41]), am.Frame(50, 101, q_start=40), 3
    dense = mask.dense(frame)
    for batch, grid in enumerate(show(mask, frame).describe("text")[1:]):
        for row, kinds in enumerate(grid.cells):
            for column, kind in enumerate(kinds):
                block = dense[batch, 0, row * step : (row + 1) * step, column * step : (column + 1) * step]
                assert kind == ("visible" if block.all() else "partial" if block.any() else "hidden")


def test_cells_where_a_query_meets_its_own_position_are_outlined():
    grid = show(am.causal(), am.Frame(4, 6, q_start=3)).describe("svg")[-1]
    assert grid.outlined == ((0, 3), (1, 4), (2, 5))
    assert show(am.causal(), 300).describe("svg")[-1].outlined == ()


def test_a_picture_of_a_million_tokens_takes_no_array_of_that_size():
    picture = show(am.causal() & am.window(100_000), 1_000_000)
    assert "1000000 queries x 1000000 keys, 95000950000 of 1000000000000 visible (9.5 %)" in picture.text()


def test_the_limits_of_text_and_drawings():
    assert len(show(am.causal(), TEXT_CELLS).describe("text")[-1].cells) == TEXT_CELLS
    assert len(show(am.causal(), TEXT_CELLS + 1).describe("text")[-1].cells) == 21
    assert len(show(am.causal(), DRAWN_CELLS).describe("svg")[-1].cells) == DRAWN_CELLS


def test_many_batches_are_cut_and_it_is_said():
    picture = show(am.padding([1] * 20), am.Frame(1, 2))
    assert len(picture.describe("text")) == MOST_GRIDS + 1
    assert "the first 16 of 20 pairs of batch and head are shown; all are counted" in picture.text()
    assert "20 of 40 visible" in picture.text()


def test_save(tmp_path):
    picture = show(am.causal(), 3)
    for suffix, content in ((".txt", picture.text()), (".svg", picture.svg()), (".HTML", picture.html())):
        picture.save(tmp_path / f"mask{suffix}")
        assert (tmp_path / f"mask{suffix}").read_text(encoding="utf-8") == content
    picture.save(str(tmp_path / "mask.png"))
    assert (tmp_path / "mask.png").read_bytes() == picture.png()


def test_an_unknown_suffix_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(InputError) as caught:
        show(am.causal(), 3).save(tmp_path / "mask.jpg")
    assert str(caught.value) == (
        f"a picture is saved as .html, .png, .svg, .txt; got '{tmp_path / 'mask.jpg'}'. Write save('mask.html')."
    )
    assert list(tmp_path.iterdir()) == []


def test_notebooks_get_text_and_a_drawing():
    picture = show(am.causal(), 2)
    bundle = picture._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == picture.text()
    assert bundle["image/svg+xml"] == picture.svg()
    assert picture.svg() in bundle["text/html"]


def test_refusals():
    with pytest.raises(InputError, match="tokens are one text per key; got 2 of type list for kv_len=3"):
        show(am.causal(), 3, tokens=["a", "b"])
    with pytest.raises(InputError, match="tokens are one text per key; got 3 of type str"):
        show(am.causal(), 3, tokens="abc")
    with pytest.raises(FrameError, match="needs to know where the first query stands"):
        show(am.causal(), am.Frame(2, 5))
