"""Data from the user: TSV, JSON lines, parquet, or the name of a data set; refused with its line if it is broken.

A row has one text per field; a conversation has as many as it has turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attnmask.errors import InputError, require

Row = tuple[str, ...]
Table = Iterator[tuple[int, tuple[Any, ...]]]
TURNS = ("turns",)


def read(data: str, fields: tuple[str, ...]) -> list[Row]:
    """The rows of a file or data set: one text per field, none of them empty.

    Args:
        data: a .tsv (columns in the order of the fields, no header), a .jsonl (one object per line), a .parquet, or a
            name that ``datasets.load_dataset`` knows, with ``:split`` behind it (default: train).
        fields: names of the columns, for example ("source", "target").

    Raises:
        InputError: the file is not there, holds nothing, or a line of it is broken; the line is named.
    """
    return _whole(data, _rows(data, fields, _tsv))


def conversations(data: str) -> list[Row]:
    """The conversations of a file or data set, two turns or more each.

    Args:
        data: a .tsv with the turns of a conversation in a line, or what has a list of turns in the field ``turns``: a
            .jsonl, a .parquet, or a name that ``datasets.load_dataset`` knows.

    Raises:
        InputError: as ``read``.
    """
    return _whole(data, ((number, _turns(data, number, row)) for number, row in _rows(data, TURNS, _columns)))


def _turns(data: str, number: int, row: tuple[Any, ...]) -> tuple[Any, ...]:
    turns = row[0] if len(row) == 1 else row
    if not isinstance(turns, (list, tuple)) or len(turns) < 2:
        raise _broken(data, number, str(turns)[:60], "two turns or more")
    return tuple(turns)


def _whole(data: str, table: Table) -> list[Row]:
    rows = [_checked(data, number, row) for number, row in table]
    if not rows:
        raise InputError("data holds at least one row", f"{data}: none", "Give a file with rows")
    return rows


def _rows(data: str, fields: Row, tsv: Callable[[str, Row], Row]) -> Table:
    parsers: dict[str, Callable[[str, Row], tuple[Any, ...]]] = {".tsv": tsv, ".jsonl": _jsonl}
    parse = parsers.get(Path(data).suffix)
    return _lines(Path(data), fields, parse) if parse else _table(data, fields)


def _table(data: str, fields: Row) -> Table:
    found: Table = require("attnmask.recipes.data.hub_datasets", "recipes").rows(data, fields)
    return found


def _lines(path: Path, fields: Row, parse: Callable[[str, Row], tuple[Any, ...]]) -> Table:
    if not path.is_file():
        raise InputError("data is a file or the name of a data set", f"no file {path}", "Check the path")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _broken(path, content[: error.start].count(b"\n") + 1, error.reason, "UTF-8") from None
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            yield number, parse(line.rstrip("\r"), fields)
        except ValueError as error:
            raise _broken(path, number, str(error), f"the fields {', '.join(fields)}") from None


def _columns(line: str, fields: Row) -> Row:
    return tuple(line.split("\t"))


def _tsv(line: str, fields: Row) -> Row:
    row = _columns(line, fields)
    if len(row) != len(fields):
        raise ValueError(f"{len(row)} columns")
    return row


def _jsonl(line: str, fields: Row) -> tuple[Any, ...]:
    entry = json.loads(line)
    if not isinstance(entry, dict) or any(name not in entry for name in fields):
        raise ValueError(line[:60])
    return tuple(entry[name] for name in fields)


def _checked(data: str, number: int, row: tuple[Any, ...]) -> Row:
    for text in row:
        if not isinstance(text, str) or not text.strip():
            raise _broken(data, number, repr(text), "texts that are not empty")
    return tuple(text.strip() for text in row)


def _broken(data: str | Path, number: int, got: str, wanted: str) -> InputError:
    return InputError(f"each line has {wanted}", f"{data}, line {number}: {got}", "Mend the line, or take it out")
