"""The HTML is one file that needs nothing else, whatever the tokens are."""

import re
from html.parser import HTMLParser

import pytest

import attnmask as am
from attnmask.explain.picture import show
from attnmask.explain.worked import explain

VOID = {"meta", "input", "br", "link", "img", "hr"}
NASTY = ["</script>", "<img src=x onerror=alert(1)>", '"quoted"', "a\u202eb", "&amp;", "\ud800", "\x00"]
PAGES = {
    "example": explain("Hello there").html(),
    "nasty": explain(NASTY).html(),
    "picture": show(am.causal() & am.padding([5, 7]), 7, tokens=NASTY).html(),
    "overview": show(am.window(9), 300).html(),
}


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parsed(page):
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_it_is_balanced_and_asks_for_nothing(page):
    tags = parsed(page).seen
    names = {name for name, _ in tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base"}
    for _, attributes in tags:
        assert not set(attributes) & {"src", "href", "onerror", "onclick", "onload", "srcset", "xlink:href"}
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "@import" not in page


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_it_forbids_requests_and_knows_dark_and_paper(page):
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_tokens_cannot_break_out():
    page = PAGES["nasty"]
    assert "</script>" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "a[U+202E]b" in page
    assert "[U+D800]" in page
    assert "&lt;/script&gt;" in page
    page.encode("utf-8")


def test_the_same_example_is_the_same_bytes():
    assert explain("Hello there").html() == PAGES["example"]
    assert explain("Hello there", seed=1).html() != PAGES["example"]


def test_cells_name_their_tokens_when_hovered():
    tips = [
        attributes["title"]
        for tag, attributes in parsed(PAGES["example"]).seen
        if tag == "td" and "title" in attributes
    ]
    peeking = [tip for tip in tips if tip.startswith("q1·k2 = ")]
    assert len(peeking) == 1
    assert peeking[0].endswith("holds Hello, there; the mask hides there from Hello")


def test_cells_with_forbidden_information_are_framed():
    """I, S and A without M (twice, as result and as factor), and the four cells of row 1 of F without M."""
    cells = re.findall(r'<td class="([a-z ]+)"', PAGES["example"])
    assert cells.count("leak") == 1 + 1 + 2 + 2 + 4
    assert "hidden leak" not in cells


def test_nothing_is_framed_without_a_mask():
    assert '<td class="leak"' not in explain("Hello there", am.everything()).html()


def test_every_matrix_has_its_name_and_shape():
    page = PAGES["example"]
    for name, shape in (("Q = X Wq", "2 × 4"), ("Wq", "4 × 4"), ("I = Q K^T", "2 × 2"), ("F = A V", "2 × 4")):
        assert f"<b>{name}</b> {shape}" in page


def test_a_notebook_gets_a_page_in_a_frame():
    bundle = explain("Hello there")._repr_mimebundle_()
    frame = parsed(bundle["text/html"]).seen
    assert [tag for tag, _ in frame] == ["iframe"]
    assert frame[0][1]["srcdoc"] == PAGES["example"]
    assert frame[0][1]["sandbox"] is None
