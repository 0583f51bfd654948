"""Debian's package descriptions, and their translations by volunteers: one line, and paragraphs, for each package.

The texts belong to their authors (each package's debian/control; translations: the Debian Description Translation
Project). They are read from the machine's own package archive when they are needed, and never passed on.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from attnmask.errors import InputError
from attnmask.recipes.data import cached

LONGEST = 40  # words of a paragraph that is translated
APT = """\
#clear Acquire::Languages;
Acquire::Languages {{ "en"; "{language}"; }};
Acquire::GzipIndexes "false";
APT::Sandbox::User "";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
"""


class Description(NamedTuple):
    """What a package is, in one line and in paragraphs."""

    synopsis: str
    paragraphs: list[str]


def pairs(language: str) -> list[tuple[str, str]]:
    """English and translated synopses, and paragraphs of at most 40 words, each pair once.

    Args:
        language: as Debian writes it: it, fr, de, pt_BR, ja, es ...

    Raises:
        InputError: the package archive has no such language, or there is no apt-get.
    """
    english, other = (descriptions(language, side) for side in ("en", language))
    found: dict[tuple[str, str], None] = {}  # a set that keeps the order
    for key, given in english.items():
        if key in other:
            found.update(dict.fromkeys(_parallel(given, other[key])))
    return list(found)


def descriptions(language: str, side: str = "en") -> dict[str, Description]:
    """The descriptions of one side, by the checksum of the English text, in the archive's order."""
    files = sorted(_fetched(language).glob(f"*_Translation-{side}"))
    if not files:
        raise InputError(
            "Debian translates descriptions into some languages", repr(side), "Take one of it, fr, de, pt_BR, ja, es"
        )
    return dict(entry for file in files for entry in parse(file.read_text(encoding="utf-8")))


def parse(text: str) -> Iterator[tuple[str, Description]]:
    """The checksum and the description of each entry of a Translation file.

    >>> entry = "Package: x\\nDescription-md5: d9\\nDescription-en: small tool\\n It is a\\n tool.\\n .\\n And small.\\n  * a list\\n"
    >>> list(parse(entry))
    [('d9', Description(synopsis='small tool', paragraphs=['It is a tool.', 'And small.']))]
    """
    pattern = re.compile(r"^Description-md5: (\S+)\nDescription-\w+: (.*)\n((?: .*\n?)*)", re.MULTILINE)
    for key, synopsis, body in pattern.findall(text):
        paragraphs = (_paragraph(part) for part in re.split(r"^ \.$", body, flags=re.M))
        yield key, Description(synopsis.strip(), [paragraph for paragraph in paragraphs if paragraph])


def _paragraph(lines: str) -> str:
    """The running text of a paragraph; lines that are indented further are lists and tables."""
    running = [line.strip() for line in lines.splitlines() if re.match(r" \S", line)]
    return " ".join(running)


def _parallel(english: Description, other: Description) -> Iterator[tuple[str, str]]:
    """Texts that say the same: paragraphs only where both sides have as many."""
    sides = [(english.synopsis, other.synopsis)]
    if len(english.paragraphs) == len(other.paragraphs):
        sides += zip(english.paragraphs, other.paragraphs, strict=True)
    for one, two in sides:
        if one and two and one != two and max(len(one.split()), len(two.split())) <= LONGEST:
            yield one, two


def _fetched(language: str) -> Path:
    def fetch(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as own:
            _update(Path(own), language)
            for file in Path(own).glob("state/lists/*_main_i18n_Translation-*"):
                file.replace(folder / file.name.rpartition("_dists_")[2])

    return cached.folder(f"debian-{language}", fetch)


def _update(folder: Path, language: str) -> None:
    """Fetch the archive's lists into a folder, with nothing of the machine's own state touched."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "apt.conf").write_text(APT.format(language=language, folder=folder), encoding="utf-8")
    try:
        subprocess.run(
            ["apt-get", "-c", str(folder / "apt.conf"), "-q", "update"], check=True, capture_output=True, text=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise InputError(
            "Debian's descriptions come from its package archive",
            said.strip().splitlines()[-1],
            "Run it on Debian with network, or give --data a file",
        ) from None
