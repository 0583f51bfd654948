"""The steps of an example as matrices to be drawn: colours, labels, sets of tokens, and how each number was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attnmask.explain.labels import decimals, number_text, token_label
from attnmask.explain.parts import Matrix, TokenSets
from attnmask.explain.steps import OPEN, Booleans, Step

if TYPE_CHECKING:
    from attnmask.explain.worked import Explanation

# symbol -> (colour, letter of the rows, letter of the columns); "" counts them
LOOKS = {
    "X": ("x", "x", ""),
    "Wq": ("q", "", ""),
    "Wk": ("k", "", ""),
    "Wv": ("v", "", ""),
    "Q": ("q", "q", ""),
    "K": ("k", "k", ""),
    "V": ("v", "v", ""),
    "I": ("score", "q", "k"),
    "S": ("score", "q", "k"),
    "M": ("mask", "q", "k"),
    "S + M": ("score", "q", "k"),
    "A": ("score", "q", "k"),
    "F": ("output", "f", ""),
}
TOKEN_FREE = ("Wq", "Wk", "Wv", "M")  # no token's information is in these
MASKED = ("M", "S + M", "A")  # the mask's hidden cells are drawn as hidden


class Drawing:
    """Steps of an example as matrices with labels, sets and hints."""

    def __init__(self, example: Explanation) -> None:
        self.example = example
        self.labels = [token_label(token) for token in example.tokens]

    def matrix(self, symbol: str) -> Matrix:
        step = self.example.step(symbol)
        role, rows, columns = LOOKS[symbol.removesuffix(OPEN)]
        token_free = symbol in TOKEN_FREE
        return Matrix(
            symbol,
            step.formula,
            role,
            tuple(map(tuple, step.values.tolist())),
            tuple(self.row_label(rows, at) for at in range(step.values.shape[0])),
            tuple(f"{columns}{at + 1}" for at in range(step.values.shape[1])),
            () if token_free else _sets(step.sources),
            () if token_free else _sets(step.forbidden),
            tuple(map(tuple, (~self.example.visible).tolist())) if symbol in MASKED else (),
            self.tips(step),
        )

    def row_label(self, letter: str, at: int) -> str:
        return f"{letter}{at + 1} {self.labels[at]}" if letter else str(at + 1)

    def tips(self, step: Step) -> tuple[tuple[str, ...], ...]:
        """How each number was made, and whose information is in it."""
        rows, columns = step.values.shape
        return tuple(tuple(self.tip(step, row, column) for column in range(columns)) for row in range(rows))

    def tip(self, step: Step, row: int, column: int) -> str:
        held = [self.labels[token] for token in np.flatnonzero(step.sources[row, column])]
        bad = [self.labels[token] for token in np.flatnonzero(step.forbidden[row, column])]
        texts = [
            self.products(step.symbol, row, column),
            f"holds {', '.join(held)}" if held else "",
            f"the mask hides {', '.join(bad)} from {self.labels[row]}" if bad else "",
        ]
        return "; ".join(text for text in texts if text)

    def products(self, symbol: str, row: int, column: int) -> str:
        """The sum of products that makes a cell of a matrix product."""
        makers = {"Q": ("X", "Wq"), "K": ("X", "Wk"), "V": ("X", "Wv"), "I": ("Q", "K"), "F": ("A", "V")}
        if symbol.removesuffix(OPEN) not in makers:
            return ""
        left, right = makers[symbol.removesuffix(OPEN)]
        factors = self.example.step(left + OPEN * symbol.endswith(OPEN)).values[row]
        others = self.example.step(right).values
        others = others[column] if symbol == "I" else others[:, column]
        used = self.example.visible[row] if symbol == "F" else np.ones(len(factors), dtype=bool)
        terms = [f"{_factor(x)}×{_factor(y)}" for x, y in zip(factors[used], others[used], strict=True)]
        total = _number(self.example.step(symbol).values[row, column])
        return f"{_cell_name(symbol, row, column)} = {' + '.join(terms) or 'nothing visible'} = {total}"


def _cell_name(symbol: str, row: int, column: int) -> str:
    return f"q{row + 1}·k{column + 1}" if symbol == "I" else f"{symbol}[{row + 1},{column + 1}]"


def _number(value: float) -> str:
    return number_text(value, decimals([value]))


def _factor(value: float) -> str:
    return f"({_number(value)})" if value < 0 else _number(value)


def _sets(held: Booleans) -> TokenSets:
    return tuple(tuple(frozenset(np.flatnonzero(cell).tolist()) for cell in row) for row in held)


def transposed(keys: Matrix) -> Matrix:
    """The keys as columns, as the scores need them; text, which shows each matrix once, has shown them."""
    values, sets, bad = (tuple(zip(*part, strict=True)) for part in (keys.values, keys.sets, keys.forbidden))
    columns = tuple(label.split(" ")[0] for label in keys.row_labels)
    return Matrix(
        "K^T", "K^T: the keys as columns", keys.role, values, keys.column_labels, columns, sets, bad, drawn_as="K"
    )
