"""Aligned text, next to the parts that it is made of."""

import pytest

import attnmask as am
from attnmask.explain.outputs.text import render
from attnmask.explain.parts import Equation, Grid, Matrix, Section, Table, Words
from attnmask.explain.picture import show
from attnmask.explain.worked import explain
from attnmask.page import text_width

ONE, TWO, BOTH, NONE = frozenset({0}), frozenset({1}), frozenset({0, 1}), frozenset()
VALUES = Matrix("V", "V: values", "v", ((0.5, -1.25),), ("v1 a",), ("1", "2"), ((ONE, ONE),), ((NONE, NONE),))
SCORES = Matrix("I", "I: scores", "score", ((2.0, -3.0),), ("q1 a",), ("k1", "k2"), ((ONE, BOTH),), ((NONE, TWO),))

TEXTS = [
    (VALUES, "V: values (1 x 2)\n           1      2   holds\n  v1 a  0.50  -1.25   {1}"),
    (SCORES, "I: scores (1 x 2)\n         k1    k2   k1 holds  k2 holds\n  q1 a  2.0  -3.0   {1}       {1,2}!"),
    (Equation((VALUES, VALUES), ("x",)), "V: values (1 x 2)\n           1      2   holds\n  v1 a  0.50  -1.25   {1}"),
    (Table(("a", "b"), (("1", "two"),)), "a  b\n-  ---\n1  two"),
    (Section("Head", (Words("text"),)), "1. Head\n=======\ntext"),
    (Grid((("visible", "partial", "hidden"),), ("0",), ("0", "9", "18")), "        1\n    0 9 8\n  0 ■ ▨ ·"),
    (Grid((("visible", "hidden"),), ("漢",), ("漢", "b")), "     漢 b\n  漢 ■  ·"),
]


@pytest.mark.parametrize(("part", "text"), TEXTS)
def test_parts(part, text):
    lines = render("title", [part]).splitlines()
    assert lines[0] == "title"
    written = "\n".join(lines[1:]).strip("\n")
    assert written.startswith(text)


def test_labels_line_up_with_cells():
    for tokens in (["The", "cat", "sat"], ["internationalisation"] * 12, ["漢字", "かな", "e\u0301"]):
        lines = show(am.everything(), len(tokens), tokens=tokens).text().splitlines()
        ends = [[place for place, sign in enumerate(line) if sign == "■"] for line in lines if "■" in line]
        assert all(len(row) == len(tokens) for row in ends)
        assert len({text_width(line.rstrip()) for line in lines if "■" in line}) == 1


def test_control_signs_of_tokens_do_not_reach_the_terminal():
    text = show(am.causal(), 2, tokens=["\x1b[31m", "a\u202eb"]).text() + explain(["\x1b[31m", "\u2028"]).text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[U+001B]" in text.replace("\n", "")


def test_a_short_example_fits_a_terminal():
    for example in (explain("Hello there"), explain("The cat sat on the mat", "causal() & window(2)")):
        assert max(map(text_width, example.text().splitlines())) <= 100


def test_each_matrix_is_shown_once():
    text = explain("Hello there").text()
    assert text.count("V = X Wv") == 1
    assert "keys as columns" not in text


def test_the_score_that_peeks_is_marked():
    lines = explain("Hello there").text().splitlines()
    scores = lines.index("I = Q K^T: the scores (2 x 2)")
    assert lines[scores + 2].endswith("{1}       {1,2}!")
    assert lines[scores + 3].endswith("{1,2}     {2}")
