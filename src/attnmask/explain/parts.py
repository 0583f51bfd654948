"""What a document is made of, before it has a format: plain data that the files of ``outputs/`` turn into text or pictures.

    Section("Scores", (Words("..."), Equation((Q, K, I), ("x", "="))))

Whoever makes parts knows nothing of formats, and whoever renders them knows nothing of masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

Texts: TypeAlias = tuple[str, ...]
TokenSets: TypeAlias = tuple[tuple[frozenset[int], ...], ...]


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A picture of a mask: each cell ``"visible"``, ``"hidden"`` or ``"partial"``."""

    cells: tuple[Texts, ...]
    row_labels: Texts
    column_labels: Texts
    caption: str = ""
    outlined: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Matrix:
    """Numbers with labels, and for each cell whose information is in it."""

    symbol: str
    formula: str
    role: str  # a colour: one of page_style.ROLES
    values: tuple[tuple[float, ...], ...]
    row_labels: Texts
    column_labels: Texts
    sets: TokenSets = ()  # tokens counted from 0; () for a matrix that holds no token's information
    forbidden: TokenSets = ()  # of these, the ones that the mask forbids in that row
    hidden: tuple[tuple[bool, ...], ...] = ()  # cells that the mask closes
    tips: tuple[Texts, ...] = ()  # how each number was made
    drawn_as: str = ""  # the matrix that this one repeats: text shows each matrix once

    @property
    def key(self) -> str:
        """What two drawings of one matrix have in common."""
        return self.drawn_as or self.symbol


@dataclass(frozen=True)
class Equation:
    """Matrices in a row with signs between them: ``operands[0] signs[0] operands[1] signs[1] ...``."""

    operands: tuple[Matrix, ...]
    signs: Texts


@dataclass(frozen=True)
class Table:
    """Rows of texts under headers."""

    headers: Texts
    rows: tuple[Texts, ...]


@dataclass(frozen=True)
class Section:
    """Parts under a heading."""

    heading: str
    parts: tuple[Part, ...] = field(default=())


Part: TypeAlias = Words | Grid | Matrix | Equation | Table | Section
