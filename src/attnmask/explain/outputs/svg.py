"""One SVG drawing that stands alone: no style sheet, no script, no pattern, plain colours on white."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from attnmask.explain.labels import column_widths, decimals, number_text, set_text, table_lines
from attnmask.explain.parts import Equation, Grid, Matrix, Part, Section, Table, Words
from attnmask.page import LETTER_PIXELS, Box, escape, grid_box, hatch, svg_document, svg_text, text_width
from attnmask.page_style import COLOURS

SUFFIX = ".svg"
LINE, MARGIN, GAP = 17, 16, 22
CELL_HEIGHT = 32
COLUMNS = 110  # letters per line of words


def render(title: str, parts: Sequence[Part]) -> str:
    """The document as one drawing, part under part."""
    return svg_document(_margin(_stacked([_bold(title), *(_part(part) for part in parts)])), title)


def _part(part: Part) -> Box:
    match part:
        case Words(text):
            return _lines(textwrap.wrap(text, COLUMNS))
        case Grid(cells, row_labels, column_labels, caption, outlined):
            box = grid_box(cells, row_labels, column_labels, outlined=outlined)
            return _stacked([_bold(caption), box]) if caption else box
        case Matrix():
            return _matrix(part)
        case Equation(operands, signs):
            return _beside(list(_signed(operands, signs)))
        case Table(headers, rows):
            return _lines(table_lines(headers, rows, COLUMNS))
        case Section(heading, inside):
            return _stacked([_bold(heading), *(_part(inner) for inner in inside)])


def _signed(operands: Sequence[Matrix], signs: Sequence[str]) -> Iterator[Box]:
    for matrix, sign in zip_longest(operands, signs):
        yield _matrix(matrix)
        if sign:
            yield Box(LETTER_PIXELS * len(sign), CELL_HEIGHT, svg_text(0, CELL_HEIGHT, sign))


def _lines(lines: Sequence[str]) -> Box:
    texts = (svg_text(0, LINE * (at + 1) - 4, line) for at, line in enumerate(lines))
    kept = "".join(text.replace("<text ", '<text xml:space="preserve" ', 1) for text in texts)
    return Box(LETTER_PIXELS * max(map(text_width, lines), default=0), LINE * len(lines), kept)


def _bold(text: str) -> Box:
    box = _lines([text])
    return box._replace(markup=f'<g font-weight="bold">{box.markup}</g>')


def _matrix(matrix: Matrix) -> Box:
    """The formula, then the numbers in cells, under each number its set of tokens."""
    places = decimals(value for row in matrix.values for value in row)
    texts = [[number_text(value, places) for value in row] for row in matrix.values]
    width = LETTER_PIXELS * max(column_widths([matrix.column_labels, *texts, *_sets(matrix)])) + 12
    left = LETTER_PIXELS * max(map(text_width, matrix.row_labels)) + 8
    shape = f"({len(texts)} x {len(texts[0])})"
    drawn = [
        _cell(matrix, row, column, text, width) for row, line in enumerate(texts) for column, text in enumerate(line)
    ]
    labels = [
        *(svg_text(-6, row * CELL_HEIGHT + 14, text, anchor="end") for row, text in enumerate(matrix.row_labels)),
        *(svg_text((at + 0.5) * width, -5, text, anchor="middle") for at, text in enumerate(matrix.column_labels)),
    ]
    body = f'<g transform="translate({left:g} {LINE})">{"".join(drawn + labels)}</g>'
    size = Box(left + width * len(texts[0]), LINE + CELL_HEIGHT * len(texts), body)
    return _stacked([_lines([f"{matrix.formula} {shape}"]), size], gap=4)


def _sets(matrix: Matrix) -> list[list[str]]:
    return [list(map(set_text, row)) for row in matrix.sets]


def _cell(matrix: Matrix, row: int, column: int, text: str, width: float) -> str:
    hidden = bool(matrix.hidden and matrix.hidden[row][column])
    bad = bool(matrix.sets and matrix.forbidden[row][column])
    frame = f'stroke="{COLOURS["leak" if bad else "line"][0]}" stroke-width="{2 if bad else 1}"'
    tip = f"<title>{escape(matrix.tips[row][column])}</title>" if matrix.tips else ""
    colour = COLOURS[matrix.role][0]
    held = (
        svg_text(width / 2, 26, set_text(matrix.sets[row][column]), anchor="middle").replace(
            f'fill="{COLOURS["ink"][0]}"', f'fill="{COLOURS["leak" if bad else "soft"][0]}"'
        )
        if matrix.sets
        else ""
    )
    return (
        f'<g transform="translate({column * width:g} {row * CELL_HEIGHT})">'
        + (hatch(width - 2, CELL_HEIGHT - 2) if hidden else "")
        + f'<rect width="{width - 2:g}" height="{CELL_HEIGHT - 2}" rx="3" fill="{colour}" fill-opacity="0.1" '
        f"{frame}>{tip}</rect>{svg_text(width / 2, 13, text, anchor='middle')}{held}</g>"
    )


def _stacked(boxes: Sequence[Box], gap: float = GAP / 2) -> Box:
    return _arranged(boxes, lambda box: (0.0, box.height + gap))


def _beside(boxes: Sequence[Box]) -> Box:
    return _arranged(boxes, lambda box: (box.width + GAP, 0.0))


def _arranged(boxes: Sequence[Box], step: Callable[[Box], tuple[float, float]]) -> Box:
    """Boxes one after another, each a step from the last; the size of all of them together."""
    x = y = width = height = 0.0
    drawn = []
    for box in boxes:
        drawn.append(f'<g transform="translate({x:g} {y:g})">{box.markup}</g>')
        width, height = max(width, x + box.width), max(height, y + box.height)
        across, down = step(box)
        x, y = x + across, y + down
    return Box(round(width, 1), round(height, 1), "".join(drawn))


def _margin(box: Box) -> Box:
    inside = f'<g transform="translate({MARGIN} {MARGIN})">{box.markup}</g>'
    return Box(box.width + 2 * MARGIN, box.height + 2 * MARGIN, inside)
