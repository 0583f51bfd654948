"""PNG pictures of masks, drawn with Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from attnmask.errors import InputError, require
from attnmask.explain.parts import Grid, Part, Words
from attnmask.page import visible
from attnmask.page_style import COLOURS

SUFFIX = ".png"
PIXELS = 720  # of the longer side of a mask
LARGEST_CELL = 32
MARGIN, LETTERS = 16, 13


def render(title: str, parts: Sequence[Part]) -> bytes:
    """The masks of a document under its title, as the bytes of a PNG file."""
    canvas = _Canvas(_pillow("PIL.Image"), _pillow("PIL.ImageDraw"), _pillow("PIL.ImageFont"))
    pictures = [canvas.line(title, bold=True), *(_part(canvas, part) for part in parts)]
    content = io.BytesIO()
    canvas.stacked(pictures).save(content, "PNG", optimize=True)
    return content.getvalue()


def _pillow(module: str) -> ModuleType:
    return require(module, "plot")


def _part(canvas: _Canvas, part: Part) -> Any:
    match part:
        case Words(text):
            return canvas.line(text)
        case Grid():
            return canvas.grid(part)
    raise InputError(
        "a PNG shows masks only", f"a document with a {type(part).__name__}", "Save it as .html, .svg or .txt"
    )


class _Canvas:
    """Draws single pictures and puts them under each other."""

    def __init__(self, image: ModuleType, draw: ModuleType, font: ModuleType) -> None:
        self.image, self.draw = image, draw
        self.font = font.load_default(LETTERS)

    def blank(self, width: float, height: float) -> Any:
        return self.image.new("RGB", (max(1, int(width)), max(1, int(height))), COLOURS["paper"][0])

    def wide(self, text: str) -> float:
        return float(self.font.getlength(text))

    def line(self, text: str, *, bold: bool = False) -> Any:
        shown = visible(text)
        picture = self.blank(self.wide(shown) + 2, LETTERS + 6)
        width = 0.4 if bold else 0
        self.draw.Draw(picture).text((0, 0), shown, COLOURS["ink"][0], self.font, stroke_width=width)
        return picture

    def grid(self, grid: Grid) -> Any:
        """The cells, with the labels that there is room for."""
        rows, columns = len(grid.cells), len(grid.cells[0])
        size = max(2, min(LARGEST_CELL, PIXELS // max(rows, columns)))
        left = max(map(self.wide, grid.row_labels)) + 8
        upright = max(map(self.wide, grid.column_labels)) > size
        top = (max(map(self.wide, grid.column_labels)) if upright else LETTERS) + 8
        picture = self.blank(left + columns * size + 1, top + rows * size + 1)
        picture.paste(self.cells(grid, size), (int(left), int(top)))
        self.labels(picture, grid, size, int(left), int(top), upright)
        return self.stacked([self.line(grid.caption), picture], margin=0) if grid.caption else picture

    def cells(self, grid: Grid, size: int) -> Any:
        picture = self.blank(len(grid.cells[0]) * size + 1, len(grid.cells) * size + 1)
        pen = self.draw.Draw(picture)
        for at in range(0, picture.width + picture.height, 7):
            pen.line((at, 0, at - picture.height, picture.height), COLOURS["hatch"][0])
        for row, kinds in enumerate(grid.cells):
            for column, kind in enumerate(kinds):
                self.cell(pen, kind, column * size, row * size, size)
        for row, column in grid.outlined:
            x, y = column * size, row * size
            pen.rectangle((x + 2, y + 2, x + size - 2, y + size - 2), outline=COLOURS["ink"][0])
        return picture

    def cell(self, pen: Any, kind: str, x: int, y: int, size: int) -> None:
        line = COLOURS["line"][0] if size > 8 else None
        if kind != "hidden":
            pen.rectangle((x, y, x + size, y + size), COLOURS[kind][0], line)
        elif line:
            pen.rectangle((x, y, x + size, y + size), None, line)
        if kind == "partial":
            pen.polygon((x, y, x, y + size, x + size, y + size), COLOURS["visible"][0])

    def labels(self, picture: Any, grid: Grid, size: int, left: int, top: int, upright: bool) -> None:
        pen, ink, stride = self.draw.Draw(picture), COLOURS["ink"][0], -(-LETTERS // size)
        for row in range(0, len(grid.row_labels), stride):
            place = (left - 5, top + (row + 0.5) * size)
            pen.text(place, grid.row_labels[row], ink, self.font, anchor="rm")
        for column in range(0, len(grid.column_labels), stride):
            text, middle = grid.column_labels[column], left + (column + 0.5) * size
            if upright:
                turned = self.line(text).rotate(90, expand=True, fillcolor=COLOURS["paper"][0])
                picture.paste(turned, (int(middle - turned.width / 2), int(top - turned.height - 2)))
            else:
                pen.text((middle, top - 4), text, ink, self.font, anchor="ms")

    def stacked(self, pictures: Sequence[Any], margin: int = MARGIN) -> Any:
        height = sum(picture.height + 6 for picture in pictures)
        whole = self.blank(max(picture.width for picture in pictures) + 2 * margin, height + 2 * margin)
        y = margin
        for picture in pictures:
            whole.paste(picture, (margin, y))
            y += picture.height + 6
        return whole
