"""``export`` and ``read``: between masks and the mask arguments of frameworks."""

from __future__ import annotations

import difflib
import functools
import importlib
import pkgutil
from types import ModuleType
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.selection import refuse_selection
from attnmask.define.text.parse import given
from attnmask.errors import FrameworkError, InputError
from attnmask.exchange import frameworks as folder

KIN = {"pytorch": ("torch.sdpa", "torch.flex", "torch.mha"), "keras": ("tensorflow",), "flax": ("jax.nn",)}


@functools.cache
def _modules() -> dict[str, ModuleType]:
    files = [module.name for module in pkgutil.iter_modules(folder.__path__)]
    modules = [importlib.import_module(f"{folder.__name__}.{file}") for file in files]
    return dict(sorted((module.NAME, module) for module in modules))


def frameworks() -> tuple[str, ...]:
    """The names that ``export`` and ``read`` know: the files of ``frameworks/``.

    >>> import attnmask as am
    >>> "torch.sdpa" in am.frameworks()
    True
    """
    return tuple(_modules())


def checked_framework(framework: str) -> str:
    """The name of a framework; any other is refused with the names that may be meant."""
    if framework not in _modules():
        raise FrameworkError(f"a framework is one of {', '.join(frameworks())}", repr(framework), _meant(framework))
    return framework


def _meant(name: str) -> str:
    """The names of which a word is one part, or which are spelt alike, or that are of the same library."""
    words = {word: known for known in frameworks() for word in (known, *known.split("."))}
    alike = difflib.get_close_matches(str(name).lower(), words, n=1)
    near = [known for known in frameworks() if str(name).lower() in known.split(".")]
    near = near or list(KIN.get(str(name).lower(), ())) or [words[word] for word in alike]
    return f"Write {' or '.join(map(repr, dict.fromkeys(near or frameworks())))}"


def _module(framework: str) -> ModuleType:
    return _modules()[checked_framework(framework)]


def export(mask: Mask | str, framework: str, frame: Frame | int, **options: Any) -> dict[str, Any]:
    """The keyword arguments that say a mask to a framework's own attention function.

    >>> import attnmask as am
    >>> am.export(am.causal(), "torch.sdpa", 4)
    {'is_causal': True}
    >>> am.export(am.causal(), "tensorflow", 2)["mask"][0, 0]
    array([[0., 1.],
           [0., 0.]], dtype=float32)

    Args:
        mask: the mask.
        framework: one of ``frameworks()``.
        frame: where the mask is seen; its q_start is turned into what the framework needs.
        options: those of the framework's file, such as ``device`` for torch.

    Raises:
        FrameworkError: the framework is unknown, or cannot say this mask.
        FrameError: the mask cannot be seen in this frame.
    """
    mask = given(mask)
    refuse_selection(mask)
    if not isinstance(mask, Mask):
        raise InputError("export takes a Mask", type(mask).__name__, "Write am.table(array) for booleans")
    arguments: dict[str, Any] = _module(framework).write(mask, Frame.of(frame), **options)
    return arguments


def read(value: Any, framework: str, **options: Any) -> Mask:
    """The mask that a framework's own argument means to that framework.

    >>> import attnmask as am
    >>> import numpy as np
    >>> hidden = np.array([[False, True], [False, False]])
    >>> am.read(hidden, "torch.mha")
    table([[True, False], [True, True]])
    >>> am.read({"is_causal": True}, "torch.sdpa")
    causal()

    Args:
        value: a mask array, or the keyword arguments as ``export`` gives them.
        framework: one of ``frameworks()``.
        options: ``q_start``, the absolute position of the first row (0 by default), and those of the framework's
            file.

    Raises:
        FrameworkError: the framework is unknown, or the value is not a mask there, or means two things.
    """
    mask: Mask = _module(framework).read(value, **options)
    return mask
