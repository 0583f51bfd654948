"""Plain text for a terminal: signs for masks, aligned columns for numbers, no colour."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from attnmask.explain.labels import (
    TEXT_COLUMNS,
    column_widths,
    decimals,
    number_text,
    padded,
    set_text,
    table_lines,
)
from attnmask.explain.parts import Equation, Grid, Matrix, Part, Section, Table, Words
from attnmask.page import text_width, visible

SUFFIX = ".txt"
SIGNS = {"visible": "■", "hidden": "·", "partial": "▨"}
LEGEND = "■ all visible   ▨ some visible   · none visible"


def render(title: str, parts: Sequence[Part]) -> str:
    """The document as lines of text, without a line end after the last."""
    lines = (line.rstrip() for line in (visible(title), *_Writer().lines(parts)))
    return "\n".join(line for line, before in _pairs(lines) if line or before).rstrip("\n")


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each line with the one before it."""
    before = ""
    for line in lines:
        yield line, before
        before = line


class _Writer:
    """Writes parts as lines; a matrix that stood before is not repeated."""

    def __init__(self) -> None:
        self.sections = 0
        self.seen: set[str] = set()

    def lines(self, parts: Sequence[Part]) -> Iterator[str]:
        for part in parts:
            yield from self.part(part)

    def part(self, part: Part) -> Iterator[str]:
        match part:
            case Words(text):
                yield from textwrap.wrap(text, TEXT_COLUMNS)
            case Grid():
                yield from grid_lines(part)
            case Matrix():
                yield from self.matrix(part)
            case Equation(operands, _):
                yield from self.lines(operands)
            case Table(headers, rows):
                yield from ["", *table_lines(headers, rows), ""]
            case Section(heading, inside):
                self.sections += 1
                numbered = f"{self.sections}. {heading}"
                yield from ["", numbered, "=" * text_width(numbered), *self.lines(inside)]

    def matrix(self, matrix: Matrix) -> Iterator[str]:
        if matrix.key not in self.seen:
            self.seen.add(matrix.key)
            yield from ["", *matrix_lines(matrix), ""]


def grid_lines(grid: Grid) -> list[str]:
    """A mask as signs, key labels above, query labels on the left."""
    left = max(map(text_width, grid.row_labels)) + 2
    widths = _cell_widths(grid.column_labels, TEXT_COLUMNS - left)
    lines = [grid.caption] if grid.caption else []
    lines += [" " * left + "".join(f" {text}" for text in row) for row in _header(grid.column_labels, widths)]
    for label, kinds in zip(grid.row_labels, grid.cells, strict=True):
        signs = (_centred(SIGNS[kind], width) for kind, width in zip(kinds, widths, strict=True))
        lines.append(padded(label, left, right=True) + "".join(f" {text}" for text in signs))
    return lines + [LEGEND] * any("partial" in kinds for kinds in grid.cells)


def _cell_widths(labels: Sequence[str], room: int) -> list[int]:
    """As wide as the labels where these are words that fit; else as wide as a letter, and the labels stand upright."""
    widths = list(map(text_width, labels))
    if not all(label.lstrip("-").isdigit() for label in labels) and sum(widths) + len(widths) <= room:
        return widths
    return [max(text_width(sign) for label in labels for sign in label)] * len(labels)


def _header(labels: Sequence[str], widths: Sequence[int]) -> Iterator[list[str]]:
    if list(map(text_width, labels)) == list(widths):
        yield list(labels)
        return
    height = max(map(len, labels))
    for place in range(height):
        signs = (label.rjust(height)[place] for label in labels)
        yield [padded(sign, width) for sign, width in zip(signs, widths, strict=True)]


def _centred(sign: str, width: int) -> str:
    return padded(" " * ((width - 1) // 2) + sign, width)


def matrix_lines(matrix: Matrix) -> list[str]:
    """The formula, then the numbers, then beside or below them whose information each cell holds."""
    places = decimals(value for row in matrix.values for value in row)
    shape = f"({len(matrix.values)} x {len(matrix.values[0])})"
    numbers = [[number_text(value, places) for value in row] for row in matrix.values]
    lines = [f"{matrix.formula} {shape}", *_block(matrix.row_labels, matrix.column_labels, numbers)]
    if not matrix.sets:
        return lines
    sets = _set_block(matrix)
    beside = [f"{line}   {held}" for line, held in zip(_level(lines[1:]), sets, strict=True)]
    if max(map(text_width, beside)) <= TEXT_COLUMNS:
        return [lines[0], *beside]
    return [*lines, *(_beside_labels(matrix.row_labels, sets))]


def _block(row_labels: Sequence[str], column_labels: Sequence[str], texts: Sequence[Sequence[str]]) -> list[str]:
    widths = column_widths([column_labels, *texts])
    left = max(map(text_width, row_labels)) + 2
    rows = zip(["", *row_labels], [column_labels, *texts], strict=True)
    return [padded(label, left, right=True) + "".join(_cells(row, widths)) for label, row in rows]


def _cells(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield from ("  " + padded(text, width, right=True) for text, width in zip(row, widths, strict=True))


def _set_block(matrix: Matrix) -> list[str]:
    """One set per row where a row's cells hold the same, else one per cell; ``!`` marks what the mask forbids."""
    texts = [
        [set_text(held) + "!" * bool(bad) for held, bad in zip(row, bad_row, strict=True)]
        for row, bad_row in zip(matrix.sets, matrix.forbidden, strict=True)
    ]
    if all(len(set(row)) == 1 for row in texts):
        return ["holds", *(row[0] for row in texts)]
    heads = [f"{label} holds" for label in matrix.column_labels]
    widths = column_widths([heads, *texts])
    return ["  ".join(map(padded, row, widths)).rstrip() for row in (heads, *texts)]


def _level(lines: Sequence[str]) -> list[str]:
    width = max(map(text_width, lines))
    return [padded(line, width) for line in lines]


def _beside_labels(row_labels: Sequence[str], sets: Sequence[str]) -> list[str]:
    left = max(map(text_width, row_labels)) + 2
    return [f"{padded(label, left, right=True)}  {held}" for label, held in zip(["", *row_labels], sets, strict=True)]
