"""One self-contained HTML page, and the pictures and tables that go on it. Knows nothing of masks.

A page makes no request, needs no script, follows the reader's light or dark setting, and is the same bytes for the
same content. Tokens are text of strangers: everything passes through ``escape``.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from attnmask.page_style import COLOURS, STYLE

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, direction, surrogate, private, unassigned, separators
TOKEN_COLOURS = 6

FONT = 'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="11"'
GRID_PIXELS = 560
CELL_PIXELS = 22
LETTER_PIXELS = 6.7  # one letter of the 11 px labels
LABEL_PIXELS = 13
SEEN_LINES = 48  # more cells than this need no lines between them


def visible(text: str) -> str:
    """A text in which characters that cannot be seen, or that turn the reading direction, are named.

    >>> visible("a\\u202eb")
    'a[U+202E]b'
    """
    return "".join(
        f"[U+{ord(sign):04X}]" if unicodedata.category(sign) in UNSEEN and sign not in "\n\t" else sign for sign in text
    )


def escape(text: object) -> str:
    """A text that is safe inside an element and inside a quoted attribute.

    >>> escape('</script> & "x"')
    '&lt;/script&gt; &amp; &quot;x&quot;'
    """
    return html.escape(visible(str(text)), quote=True)


def page(title: str, body: str) -> str:
    """A whole HTML document around a body, which is HTML already.

    >>> page("A < B", "<p>text</p>").splitlines()[:2]
    ['<!DOCTYPE html>', '<html lang="en">']
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<fieldset class="theme" aria-label="Colours">
<label><input type="radio" name="theme" id="theme-light"> light</label>
<label><input type="radio" name="theme" id="theme-dark"> dark</label>
</fieldset>
<main>
<h1>{escape(title)}</h1>
{body}
</main>
</body>
</html>
"""


def section(heading: str, body: str) -> str:
    """A card with a heading around a body, which is HTML already."""
    title = f"<h2>{escape(heading)}</h2>\n" if heading else ""
    return f"<section>\n{title}{body}\n</section>"


def table_html(headers: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """A plain table of texts.

    >>> table_html(["a"], [["<"]])
    '<div class="scroll"><table class="data"><thead><tr><th scope="col">a</th></tr></thead><tbody><tr><td>&lt;</td></tr></tbody></table></div>'
    """
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in headers)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table class="data">{said}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


class Cell(NamedTuple):
    """One entry of a matrix: its text, what hovering says, how it is drawn, and HTML under the number."""

    text: str
    tip: str = ""
    kind: str = ""  # "", "hidden" or "leak", or both with a space between
    below: str = ""


def matrix_html(
    cells: Iterable[Sequence[Cell]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    caption: str = "",
    role: str = "x",
) -> str:
    """A matrix of numbers with labels; the caption is HTML already, and ``role`` one of ``page_style.ROLES``."""
    top = "".join(f'<th scope="col">{escape(text)}</th>' for text in column_labels)
    body = "\n".join(
        f'<tr><th scope="row">{escape(label)}</th>{"".join(map(_cell_html, row))}</tr>'
        for label, row in zip(row_labels, cells, strict=True)
    )
    return (
        f'<figure class="role-{role}"><figcaption>{caption}</figcaption><table class="matrix">'
        f"<thead><tr><th></th>{top}</tr></thead><tbody>\n{body}\n</tbody></table></figure>"
    )


def _cell_html(cell: Cell) -> str:
    kind = f' class="{escape(cell.kind)}"' if cell.kind else ""
    tip = f' title="{escape(cell.tip)}"' if cell.tip else ""
    return f'<td{kind}{tip}><span class="number">{escape(cell.text)}</span>{cell.below}</td>'


def chips_html(tokens: Iterable[int], forbidden: Iterable[int] = ()) -> str:
    """Small numbered marks, counted from 1, one colour per token; forbidden ones are framed and struck out."""
    bad = set(forbidden)
    marks = "".join(
        f'<span class="chip chip-{token % TOKEN_COLOURS}{" chip-bad" if token in bad else ""}">{token + 1}</span>'
        for token in tokens
    )
    return f'<span class="chips">{marks or "<span class=none>none</span>"}</span>'


class Box(NamedTuple):
    """A drawing in SVG: its size in pixels and its elements."""

    width: float
    height: float
    markup: str


def grid_svg(
    cells: Sequence[Sequence[str]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    title: str = "",
    outlined: Iterable[tuple[int, int]] = (),
) -> str:
    """A grid as an inline SVG element; see ``grid_box``."""
    return svg_element(grid_box(cells, row_labels, column_labels, outlined=outlined), title)


def svg_element(box: Box, title: str, attributes: str = "") -> str:
    """An ``svg`` element around a box."""
    size = f'width="{box.width:g}" height="{box.height:g}" viewBox="0 0 {box.width:g} {box.height:g}"'
    return f'<svg{attributes} {size} {FONT} role="img" aria-label="{escape(title)}">{box.markup}</svg>'


def svg_document(box: Box, title: str) -> str:
    """A box as a file of its own, on white."""
    white = f'<rect class="am-paper" width="{box.width:g}" height="{box.height:g}" fill="#ffffff"/>'
    namespace = ' xmlns="http://www.w3.org/2000/svg"'
    return svg_element(box._replace(markup=f"<title>{escape(title)}</title>{white}{box.markup}"), title, namespace)


def grid_box(
    cells: Sequence[Sequence[str]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    *,
    outlined: Iterable[tuple[int, int]] = (),
) -> Box:
    """A grid of square cells, each ``"visible"``, ``"hidden"``, ``"partial"`` or ``"leak"``.

    Hidden cells are hatched, partial ones half filled, leaks crossed: no kind is told by colour alone. There is one
    rectangle per run of equal cells in a row.

    >>> grid_box([["visible", "visible", "hidden"]], ["0"], ["0", "1", "2"]).markup.count('<rect class="am-visible"')
    1
    """
    rows, columns = len(cells), len(cells[0])
    size = max(2, min(CELL_PIXELS, GRID_PIXELS // max(rows, columns)))
    left = 10 + LETTER_PIXELS * max(map(text_width, row_labels), default=0)
    turned = max(map(text_width, column_labels), default=0) * LETTER_PIXELS > size - 4
    top = 10 + (LETTER_PIXELS * max(map(text_width, column_labels), default=0) if turned else LABEL_PIXELS)
    drawn = [
        hatch(columns * size, rows * size),
        *_runs(cells, row_labels, column_labels, size),
        _marks(cells, size),
        _lines(rows, columns, size),
        *(_outline(row, column, size) for row, column in outlined),
        *_row_labels(row_labels, size),
        *_column_labels(column_labels, size, turned),
    ]
    markup = f'<g transform="translate({left:g} {top:g})">{"".join(drawn)}</g>'
    return Box(round(left + columns * size + 4, 1), round(top + rows * size + 4, 1), markup)


def text_width(text: str) -> int:
    """The columns a text takes in a fixed-width font: wide characters take two, combining ones none.

    >>> text_width("ab"), text_width("\\u6f22")
    (2, 2)
    """
    return sum(_sign_width(sign) for sign in visible(text))


def _sign_width(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def hatch(width: float, height: float, step: float = 7) -> str:
    """Diagonal lines over a rectangle: one path, no pattern to be named, so pictures can share a page."""
    ends = (at * step for at in range(1, int((width + height) / step) + 1))
    path = "".join(
        f"M{min(at, width):g} {max(0, at - width):g}L{max(0, at - height):g} {min(at, height):g}" for at in ends
    )
    return (
        f'<path class="am-hatch" d="{path}" stroke="{COLOURS["hatch"][0]}" stroke-width="1" fill="none"/>'
        f'<rect class="am-line" width="{width:g}" height="{height:g}" fill="none" stroke="{COLOURS["line"][0]}"/>'
    )


def _runs(
    cells: Sequence[Sequence[str]], row_labels: Sequence[str], column_labels: Sequence[str], size: int
) -> Iterator[str]:
    for row, kinds in enumerate(cells):
        start = 0
        for kind, run in groupby(kinds):
            length = len(list(run))
            if kind != "hidden":
                first, last = column_labels[start], column_labels[start + length - 1]
                tip = f"{row_labels[row]}: {first if length == 1 else f'{first} to {last}'} {kind}"
                yield (
                    f'<rect class="am-{kind}" x="{start * size}" y="{row * size}" width="{length * size}" '
                    f'height="{size}" shape-rendering="crispEdges" fill="{COLOURS[kind][0]}"><title>{escape(tip)}</title></rect>'
                )
            start += length


def _marks(cells: Sequence[Sequence[str]], size: int) -> str:
    """Half of each partial cell filled, and a cross in each leak."""
    places = [(column * size, row * size, kind) for row, kinds in enumerate(cells) for column, kind in enumerate(kinds)]
    halves = "".join(f"M{x} {y}v{size}h{size}z" for x, y, kind in places if kind == "partial")
    crosses = "".join(f"M{x} {y}l{size} {size}m{-size} 0l{size} {-size}" for x, y, kind in places if kind == "leak")
    return (f'<path class="am-visible" d="{halves}" fill="{COLOURS["visible"][0]}"/>' if halves else "") + (
        f'<path d="{crosses}" stroke="#ffffff" stroke-width="{max(1, size // 10)}" fill="none"/>' if crosses else ""
    )


def _lines(rows: int, columns: int, size: int) -> str:
    if max(rows, columns) > SEEN_LINES:
        return ""
    across = "".join(f"M0 {row * size}h{columns * size}" for row in range(1, rows))
    down = "".join(f"M{column * size} 0v{rows * size}" for column in range(1, columns))
    return f'<path class="am-line" d="{across}{down}" stroke="{COLOURS["line"][0]}" fill="none"/>'


def _outline(row: int, column: int, size: int) -> str:
    x, y, inner = column * size + 1.5, row * size + 1.5, max(1, size - 3)
    return (
        f'<rect class="am-mark" x="{x:g}" y="{y:g}" width="{inner:g}" height="{inner:g}" fill="none" '
        f'stroke="{COLOURS["ink"][0]}" stroke-width="1.2"/>'
    )


def _row_labels(labels: Sequence[str], size: int) -> Iterator[str]:
    for row in range(0, len(labels), -(-LABEL_PIXELS // size)):
        yield svg_text(-6, row * size + size / 2 + 4, labels[row], anchor="end")


def _column_labels(labels: Sequence[str], size: int, turned: bool) -> Iterator[str]:
    for column in range(0, len(labels), -(-LABEL_PIXELS // size) if turned else 1):
        x = column * size + size / 2
        yield (
            svg_text(x + 4, -6, labels[column], turn=-90)
            if turned
            else svg_text(x, -6, labels[column], anchor="middle")
        )


def svg_text(x: float, y: float, text: str, *, anchor: str = "start", turn: int = 0) -> str:
    """A text of an SVG drawing, in the fixed-width font that ``svg_element`` sets."""
    turned = f' transform="rotate({turn} {x:g} {y:g})"' if turn else ""
    return (
        f'<text class="am-ink" x="{x:g}" y="{y:g}" text-anchor="{anchor}"{turned} '
        f'fill="{COLOURS["ink"][0]}">{escape(text)}</text>'
    )
