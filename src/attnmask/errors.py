"""The exceptions of attnmask, each with a rule, what was given, and what to write instead.

AttnmaskError
|-- MaskError          a mask cannot be defined like this        (also a ValueError)
|   `-- NotationError  a text is not a mask expression
|-- FrameError         a mask and a frame do not fit together    (also a ValueError)
|-- LoweringError      a form cannot express this mask           (also a ValueError)
|-- FrameworkError     a framework or its mask is not understood (also a ValueError)
|-- InputError         query, key, value or model inputs do not fit (also a ValueError)
|-- TargetError        something to audit cannot be loaded       (also a ValueError)
`-- MissingExtra       an optional package is not installed      (also an ImportError)
"""

from __future__ import annotations

import importlib
from types import ModuleType


class AttnmaskError(Exception):
    """Base of all errors: ``<rule>; got <got>. <fix>.``

    >>> str(MaskError("lengths are at least 0", "[-1, 3]", "Clip them: lengths.clip(0)"))
    'lengths are at least 0; got [-1, 3]. Clip them: lengths.clip(0).'
    """

    def __init__(self, rule: str, got: object, fix: str) -> None:
        super().__init__(rule, got, fix)
        self.rule = rule
        self.got = str(got)
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.rule}; got {self.got}. {self.fix}."


class MaskError(AttnmaskError, ValueError):
    """A mask cannot be defined like this."""


class NotationError(MaskError):
    """A text is not a mask expression."""


class FrameError(AttnmaskError, ValueError):
    """A mask and a frame do not fit together."""


class LoweringError(AttnmaskError, ValueError):
    """A form cannot express this mask in this frame."""


class FrameworkError(AttnmaskError, ValueError):
    """A framework is unknown, or cannot say or does not mean what it was asked."""


class InputError(AttnmaskError, ValueError):
    """Arrays or model inputs do not have the shapes that the call needs."""


class TargetError(AttnmaskError, ValueError):
    """The target of an audit cannot be loaded or built."""


class MissingExtra(AttnmaskError, ImportError):
    """An optional package is needed and not installed."""


def require(package: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    >>> require("json", "all").__name__
    'json'
    >>> require("no_such_package", "plot")
    Traceback (most recent call last):
    attnmask.errors.MissingExtra: this needs the package 'no_such_package'; got an environment without it. Run: pip install 'attnmask[plot]'.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package.partition(".")[0]:
            raise
        raise MissingExtra(
            f"this needs the package {package!r}",
            "an environment without it",
            f"Run: pip install 'attnmask[{extra}]'",
        ) from None
