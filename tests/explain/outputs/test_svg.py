from xml.etree import ElementTree

import numpy as np
import pytest

import attnmask as am
from attnmask.explain.picture import show
from attnmask.explain.worked import explain
from attnmask.page_style import COLOURS

SVG = "{http://www.w3.org/2000/svg}"


def rectangles(document, kind):
    return [node for node in ElementTree.fromstring(document).iter(f"{SVG}rect") if node.get("class") == f"am-{kind}"]


@pytest.mark.parametrize(
    "document",
    [
        show(am.causal(), 4).svg(),
        show(am.padding([1, 2]), am.Frame(1, 3), tokens=["<a>", "\x00", "漢"]).svg(),
        show(am.window(9), 300).svg(),
        explain("Hello there").svg(),
        explain(["</svg>", '"', "\u202e"], "k < q").svg(),
    ],
)
def test_it_is_well_formed_and_stands_alone(document):
    root = ElementTree.fromstring(document)
    assert root.tag == f"{SVG}svg"
    for node in root.iter():
        assert not {name for name in node.attrib if "href" in name or name == "src"}
    assert document.count("http") == 1  # the namespace
    assert "<style" not in document
    assert "url(" not in document


def test_one_rectangle_per_run_of_visible_cells():
    assert len(rectangles(show(am.causal(), 9).svg(), "visible")) == 9
    striped = am.table([[True, True, False, True, False]])
    widths = [node.get("width") for node in rectangles(show(striped, am.Frame(1, 5, q_start=0)).svg(), "visible")]
    assert widths == ["44", "22"]


def test_partial_blocks_are_drawn_apart():
    array = np.zeros((300, 300), dtype=bool)
    array[7, 200] = True
    document = show(am.table(array), 300).svg()
    assert len(rectangles(document, "partial")) == 1
    assert rectangles(document, "visible") == []


def test_runs_say_what_they_are():
    titles = [node.text for node in ElementTree.fromstring(show(am.causal(), 3).svg()).iter(f"{SVG}title")]
    assert "2: 0 to 2 visible" in titles
    assert "0: 0 visible" in titles


def test_forbidden_cells_are_framed_in_red():
    assert explain("Hello there").svg().count(f'stroke="{COLOURS["leak"][0]}" stroke-width="2"') == 1 + 1 + 2 + 2 + 4


def test_the_same_document_is_the_same_bytes():
    assert explain("I love it").svg() == explain("I love it").svg()
