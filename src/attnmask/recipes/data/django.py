"""Django's message catalogues (BSD): about 900 short English messages and their translations, inside its package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from attnmask.errors import InputError, require


def pairs(language: str) -> list[tuple[str, str]]:
    """Each message and its translation, once.

    Args:
        language: as Django writes it: it, fr, de, pt_BR, ja, es ...

    Raises:
        InputError: Django does not speak the language.
        MissingExtra: Django or polib is not installed.
    """
    polib = require("polib", "recipes")
    files = sorted(_folder().rglob(f"locale/{language}/LC_MESSAGES/django.po"))
    if not files:
        raise InputError(
            "Django is translated into many languages", repr(language), "Take one of it, fr, de, pt_BR, ja"
        )
    entries = (entry for file in files for entry in polib.pofile(str(file)).translated_entries())
    texts = ((entry.msgid.strip(), entry.msgstr.strip()) for entry in entries)
    return list(dict.fromkeys((one, two) for one, two in texts if one and two and one != two))


def _folder() -> Path:
    require("django", "recipes")
    spec = find_spec("django")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
