"""A table as an operation of torch, for graphs of torch.compile, which cannot look into one.

The operation is told the table itself, as text: a graph that torch keeps on disk means its own table in any process.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from typing import Any

import torch

from attnmask.define.tables import SparseTable, Table
from attnmask.lower.arrays import numpy_of


def text_of(table: Table) -> str:
    """The text of a table.

    >>> _table_of(text_of(Table("int", (0,), b""))) == Table("int", (0,), b"")
    True
    """
    data = base64.b64encode(zlib.compress(table.data)).decode()
    return json.dumps([isinstance(table, SparseTable), table.kind, table.shape, data])


def _table_of(text: str) -> Table:
    sparse, kind, shape, data = json.loads(text)
    return (SparseTable if sparse else Table)(kind, tuple(shape), zlib.decompress(base64.b64decode(data)))


@functools.lru_cache(maxsize=64)
def _kept(text: str, device: torch.device) -> Any:
    with torch.inference_mode(False):  # a table made in inference mode must still serve training
        return torch.tensor(numpy_of(_table_of(text)), device=device)


@torch.library.custom_op("attnmask::table", mutates_args=())  # type: ignore[untyped-decorator]
def _tensor(text: str, device: torch.device) -> torch.Tensor:
    return _kept(text, device).clone()  # a graph may write into what an operation gives


@_tensor.register_fake  # type: ignore[untyped-decorator]
def _shape(text: str, device: torch.device) -> torch.Tensor:
    entries = numpy_of(_table_of(text))
    return torch.empty(entries.shape, dtype=torch.bool if entries.dtype == bool else torch.int64, device=device)
