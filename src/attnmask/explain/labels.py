"""How tokens, sets of tokens, numbers and columns are written, in every format."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby

from attnmask.page import text_width, visible

TOKEN_SIGNS = {" ": "␣", "\n": "↵", "\t": "⇥"}
LONGEST_TOKEN = 14
MOST_LABELS = 8
MOST_DECIMALS = 4
TEXT_COLUMNS = 100


def token_label(token: str) -> str:
    """A token as one visible word: spaces and line ends drawn, control signs named, long ones cut.

    >>> token_label(" the"), token_label(""), token_label("internationalisation")
    ('␣the', '""', 'internationali…')
    """
    drawn = visible("".join(TOKEN_SIGNS.get(sign, sign) for sign in token))
    return (drawn if len(drawn) <= LONGEST_TOKEN else drawn[:LONGEST_TOKEN] + "…") or '""'


def text_label(tokens: Sequence[str]) -> str:
    """Tokens in a row, at most eight of them; the end is what matters to the token that follows.

    >>> text_label(["I", "love"]), text_label("abcdefghij")
    ('I love', '… c d e f g h i j')
    """
    cut = ["…"] * (len(tokens) > MOST_LABELS)
    return " ".join([*cut, *map(token_label, tokens[-MOST_LABELS:])])


def set_text(tokens: Iterable[int]) -> str:
    """A set of tokens counted from 0, written counted from 1, with runs of three or more shortened.

    >>> set_text({0, 1, 2, 4}), set_text({0, 1}), set_text(())
    ('{1-3,5}', '{1,2}', '{}')
    """
    return f"{{{','.join(_run_text(run) for run in _runs(sorted(tokens)))}}}"


def _runs(tokens: Sequence[int]) -> Iterable[list[int]]:
    for _, run in groupby(enumerate(tokens), key=lambda item: item[1] - item[0]):
        yield [token for _, token in run]


def _run_text(run: list[int]) -> str:
    return f"{run[0] + 1}-{run[-1] + 1}" if len(run) > 2 else ",".join(str(token + 1) for token in run)


def decimals(values: Iterable[float]) -> int:
    """The fewest decimals, 1 to 4, that write all values exactly; 4 where none do.

    >>> decimals([0.5, -0.25, float("-inf")]), decimals([1 / 3])
    (2, 4)
    """
    finite = [value for value in values if abs(value) < float("inf")]
    exact = (places for places in range(1, MOST_DECIMALS) if all(abs(round(x, places) - x) < 1e-9 for x in finite))
    return next(exact, MOST_DECIMALS)


def number_text(value: float, places: int) -> str:
    """A number with so many decimals; never a negative zero.

    >>> number_text(-0.00001, 2), number_text(float("-inf"), 2)
    ('0.00', '-inf')
    """
    return f"{value:.{places}f}" if round(value, places) else f"{0:.{places}f}"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text filled up with spaces to a display width; ``right`` moves it to the right edge."""
    space = " " * (width - text_width(text))
    return space + text if right else text + space


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The display width of each column."""
    return [max(map(text_width, column)) for column in zip(*rows, strict=True)]


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[str]], width: int = TEXT_COLUMNS) -> list[str]:
    """A table of left-aligned columns under a rule; the last column is broken into lines where it passes the width.

    >>> table_lines(["a", "b"], [["1", "x"]])
    ['a  b', '-  -', '1  x']
    """
    widths = column_widths([headers, *rows])
    widths[-1] = min(widths[-1], max(20, width - sum(widths[:-1]) - 2 * (len(widths) - 1)))
    rule = ["-" * size for size in widths]
    broken = [line for row in (headers, rule, *rows) for line in _broken_row(row, widths[-1])]
    return [_row_line(row, widths) for row in broken]


def _broken_row(row: Sequence[str], width: int) -> list[list[str]]:
    last = textwrap.wrap(row[-1], width) or [""]
    return [[*row[:-1], last[0]], *([*[""] * (len(row) - 1), line] for line in last[1:])]


def _row_line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(padded(text, size) for text, size in zip(row, widths, strict=True)).rstrip()
