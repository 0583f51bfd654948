"""``Document``: something that can be read as text, SVG, HTML or a picture, and saved as a file."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

from attnmask.errors import InputError
from attnmask.explain import outputs as formats
from attnmask.explain.parts import Part


@functools.cache
def outputs() -> dict[str, ModuleType]:
    """The files of ``outputs/`` by name."""
    names = [module.name for module in pkgutil.iter_modules(formats.__path__)]
    return {name: importlib.import_module(f"{formats.__name__}.{name}") for name in names}


class Document:
    """A title and parts, in any of the formats of ``outputs/``."""

    @property
    def title(self) -> str:
        """What this is, in one line."""
        raise NotImplementedError

    def describe(self, output: str) -> Sequence[Part]:
        """The parts for one format; a smaller format may show less, and says so."""
        raise NotImplementedError

    def render(self, output: str) -> Any:
        """The document in a format by name: a str, or bytes for pictures made of pixels."""
        return outputs()[output].render(self.title, self.describe(output))

    def text(self) -> str:
        """Plain text for a terminal."""
        return str(self.render("text"))

    def svg(self) -> str:
        """One SVG drawing that stands alone."""
        return str(self.render("svg"))

    def html(self) -> str:
        """One HTML file that makes no request and needs no script."""
        return str(self.render("html"))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the document in the format that the suffix of the path names.

        Raises:
            InputError: no format has this suffix, or the format cannot show this document; nothing is written.
        """
        by_suffix = {module.SUFFIX: name for name, module in outputs().items()}
        suffix = Path(path).suffix.lower()
        if suffix not in by_suffix:
            raise InputError(
                f"a picture is saved as {', '.join(sorted(by_suffix))}",
                repr(str(path)),
                f"Write save({Path(path).stem + '.html'!r})",
            )
        content = self.render(by_suffix[suffix])
        Path(path).write_bytes(content if isinstance(content, bytes) else content.encode())

    def __repr__(self) -> str:
        return self.text()

    def __str__(self) -> str:
        return self.text()
