"""One HTML file: numbered steps as cards, matrices with their shapes, tokens as coloured marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from attnmask.explain.labels import decimals, number_text, set_text
from attnmask.explain.parts import Equation, Grid, Matrix, Part, Section, Table, Words
from attnmask.page import Cell, chips_html, escape, grid_svg, matrix_html, page, section, table_html

SUFFIX = ".html"
MOST_CHIPS = 6  # sets of more tokens are written as ranges
LEGEND = {
    "visible": "filled: visible",
    "partial": "half filled: some of the block visible",
    "hidden": "hatched: hidden",
}


def render(title: str, parts: Sequence[Part]) -> str:
    """The document as one page."""
    return page(title, "\n".join(_Writer().parts(parts)))


class _Writer:
    """Writes parts as HTML; a matrix that stood before is drawn again, but not explained again."""

    def __init__(self) -> None:
        self.sections = 0
        self.seen: set[str] = set()

    def parts(self, parts: Sequence[Part]) -> Iterator[str]:
        for part in parts:
            yield self.part(part)

    def part(self, part: Part) -> str:
        match part:
            case Words(text):
                return f"<p>{escape(text)}</p>"
            case Grid():
                return _grid(part)
            case Matrix():
                return f'<div class="row">{self.matrix(part)}</div>'
            case Equation(operands, signs):
                return f'<div class="row">{"".join(self.signed(operands, signs))}</div>'
            case Table(headers, rows):
                return table_html(headers, rows)
            case Section(heading, inside):
                self.sections += 1
                return section(f"{self.sections}. {heading}", "\n".join(self.parts(inside)))

    def signed(self, operands: Sequence[Matrix], signs: Sequence[str]) -> Iterator[str]:
        for matrix, sign in zip_longest(operands, signs):
            yield self.matrix(matrix)
            if sign:
                yield f'<span class="sign">{escape(sign)}</span>'

    def matrix(self, matrix: Matrix) -> str:
        caption = _caption(matrix, matrix.symbol in self.seen)
        self.seen.add(matrix.symbol)
        return matrix_html(_cells(matrix), matrix.row_labels, matrix.column_labels, caption=caption, role=matrix.role)


def _grid(grid: Grid) -> str:
    kinds = {kind for row in grid.cells for kind in row}
    legend = "; ".join(text for kind, text in LEGEND.items() if kind in kinds)
    svg = grid_svg(
        grid.cells, grid.row_labels, grid.column_labels, title=grid.caption or "mask", outlined=grid.outlined
    )
    caption = f"<b>{escape(grid.caption)}</b> " if grid.caption else ""
    said = f"{caption}rows = queries, columns = keys; {legend}"
    return f'<figure><figcaption>{said}</figcaption><div class="scroll">{svg}</div></figure>'


def _caption(matrix: Matrix, known: bool) -> str:
    formula, _, words = matrix.formula.partition(": ")
    shape = f"{len(matrix.values)} × {len(matrix.values[0])}"
    if known:
        return f"<b>{escape(matrix.symbol)}</b> {shape}"
    return f"<b>{escape(formula)}</b> {shape}<br>{escape(words)}"


def _cells(matrix: Matrix) -> list[list[Cell]]:
    places = decimals(value for row in matrix.values for value in row)
    return [
        [_cell(matrix, row, column, number_text(value, places)) for column, value in enumerate(values)]
        for row, values in enumerate(matrix.values)
    ]


def _cell(matrix: Matrix, row: int, column: int, text: str) -> Cell:
    held = matrix.sets[row][column] if matrix.sets else frozenset()
    bad = matrix.forbidden[row][column] if matrix.sets else frozenset()
    kinds = ["hidden"] * bool(matrix.hidden and matrix.hidden[row][column]) + ["leak"] * bool(bad)
    tip = matrix.tips[row][column] if matrix.tips else ""
    below = _below(held, bad) if matrix.sets else ""
    return Cell(text.replace("-inf", "−∞").replace("-", "−"), tip, " ".join(kinds), below)


def _below(held: frozenset[int], bad: frozenset[int]) -> str:
    if len(held) <= MOST_CHIPS:
        return chips_html(sorted(held), bad)
    return f'<span class="set">{set_text(held)}</span>'
