"""Tables that the package ``datasets`` reads: parquet files, and data sets by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datasets

from attnmask.errors import InputError


def rows(data: str, fields: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The number, from 1, and the fields of each row.

    Args:
        data: a .parquet file, or the name of a data set, with ``:split`` behind it (default: train).
        fields: names of the columns.

    Raises:
        InputError: it cannot be read, or has no such columns.
    """
    table = _table(data)
    missing = [name for name in fields if name not in table.column_names]
    if missing:
        raise InputError(
            f"the table has the columns {', '.join(fields)}",
            f"{data}: {', '.join(table.column_names)}",
            "Rename the columns",
        )
    columns = [table[name] for name in fields]
    return enumerate(zip(*columns, strict=True), start=1)


def _table(data: str) -> Any:
    name, _, split = data.partition(":")
    try:
        if name.endswith(".parquet"):
            return datasets.load_dataset("parquet", data_files=name, split=split or "train")
        return datasets.load_dataset(name, split=split or "train")
    except Exception as error:  # many packages stand behind this call, each with its own errors
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            "data is a .tsv, .jsonl or .parquet file, or a data set that can be reached", f"{data}: {first}", "Check it"
        ) from None
