from attnmask.page import Cell, chips_html, escape, grid_box, grid_svg, matrix_html, page, section, table_html, visible
from attnmask.page_style import COLOURS, STYLE


def test_unseen_characters_are_named():
    assert visible("a\u200b\u2066\x07") == "a[U+200B][U+2066][U+0007]"
    assert visible("é 漢 😀\n") == "é 漢 😀\n"


def test_everything_is_escaped():
    bad = '<b a="1">'
    good = escape(bad)
    assert good == "&lt;b a=&quot;1&quot;&gt;"
    assert escape("a\u202e") == "a[U+202E]"
    for made in (
        page(bad, ""),
        section(bad, ""),
        table_html([bad], [[bad]], bad),
        matrix_html([[Cell(bad, bad)]], [bad], [bad]),
        grid_svg([["visible"]], [bad], [bad], title=bad),
    ):
        assert bad not in made
        assert good in made


def test_colours_have_a_light_and_a_dark_side():
    for name, (light, dark) in COLOURS.items():
        assert f"--{name}: {light};" in STYLE
        assert f"--{name}: {dark};" in STYLE


def test_leaks_are_crossed_and_not_only_red():
    markup = grid_box([["leak", "hidden"]], ["0"], ["0", "1"]).markup
    assert markup.count('<rect class="am-leak"') == 1
    assert 'stroke="#ffffff"' in markup


def test_outlined_cells():
    assert grid_box([["hidden"]], ["0"], ["0"], outlined=[(0, 0)]).markup.count('class="am-mark"') == 1


def test_long_labels_are_turned_and_make_room():
    short, long = (grid_box([["visible"]], ["0"], [name]) for name in ("a", "a long name"))
    assert "rotate(-90" in long.markup
    assert "rotate" not in short.markup
    assert long.height > short.height


def test_labels_of_large_grids_are_thinned():
    box = grid_box([["visible"] * 200] * 200, list(map(str, range(200))), list(map(str, range(200))))
    assert box.markup.count("<text") < 100


def test_forbidden_chips_are_marked():
    assert chips_html([0, 1], [1]).count("chip-bad") == 1
    assert ">none<" in chips_html([])
