"""Small talk from the package chatterbot-corpus (BSD): some hundred conversations in English, fewer in 27 languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attnmask.errors import InputError, require


def conversations(language: str) -> list[tuple[str, ...]]:
    """Each conversation once: two turns or more.

    Args:
        language: english, italian, french ... as the package names its folders.

    Raises:
        InputError: the package does not speak the language.
        MissingExtra: chatterbot-corpus or PyYAML is not installed.
    """
    yaml = require("yaml", "recipes")
    files = sorted((_folder() / language).glob("*.yml"))
    if not files:
        spoken = ", ".join(sorted(path.name for path in _folder().iterdir() if path.is_dir()))
        raise InputError("chatterbot-corpus speaks some languages", repr(language), f"Take one of {spoken}")
    tables = (yaml.load(file.read_text(encoding="utf-8"), yaml.BaseLoader) for file in files)  # all is text: "No", too
    return list(dict.fromkeys(filter(None, (_turns(entry) for table in tables for entry in table["conversations"]))))


def _turns(entry: Any) -> tuple[str, ...]:
    """The turns of an entry, each in one line; none if it is no conversation: some entries are a question alone."""
    if not isinstance(entry, list) or len(entry) < 2:
        return ()
    turns = tuple(" ".join(turn.split()) for turn in entry)
    return turns if all(turns) else ()


def _folder() -> Path:
    return Path(str(require("chatterbot_corpus", "recipes").__file__)).parent / "data"
