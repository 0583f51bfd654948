"""Data that is fetched once, kept in the user's cache, and known by the sha256 of each file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from attnmask.errors import InputError

RECORD = "sha256.json"


def folder(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder of this name in the cache; if it is not there, ``fetch`` fills it.

    A fetch that fails leaves nothing behind. A file that has changed since is refused.

    Args:
        name: of the data.
        fetch: writes files into the folder it is given.

    Raises:
        InputError: a file is not the one that was fetched.
    """
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnmask" / name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as fresh:
            filled = Path(fresh) / "files"
            filled.mkdir()
            fetch(filled)
            record = {path.name: _sha256(path) for path in sorted(filled.iterdir())}
            (filled / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
            shutil.move(filled, place)
    record = json.loads((place / RECORD).read_text(encoding="utf-8"))
    changed = [file for file, known in record.items() if _sha256(place / file) != known]
    if changed:
        raise InputError("cached data is what was fetched", f"{place}: {changed} changed", f"Remove {place}")
    return place


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
