"""``lower``: a mask in a frame as one of the concrete forms of ``forms/``."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.text.parse import given
from attnmask.errors import LoweringError
from attnmask.lower import forms


@functools.cache
def form_functions() -> dict[str, Callable[..., Any]]:
    """Each form's function by the name of its file."""
    names = [module.name for module in pkgutil.iter_modules(forms.__path__)]
    return {name: importlib.import_module(f"{forms.__name__}.{name}").lower for name in names}


def lower(mask: Mask | str, frame: Frame | int, form: str, **options: Any) -> Any:
    """The mask as a concrete form; each form's file says what it returns and which options it takes.

    >>> import attnmask as am
    >>> am.lower(am.causal(), 3, "dense").shape
    (1, 1, 3, 3)
    >>> am.lower(am.causal(), 3, "sparse")
    Traceback (most recent call last):
    attnmask.errors.LoweringError: a form is one of bias, dense, intervals, native, predicate, slices, tiles, varlen; got 'sparse'. Write am.lower(mask, frame, 'tiles').
    """
    return named(form)(given(mask), Frame.of(frame), **options)


def named(form: str) -> Callable[..., Any]:
    """The function of a form."""
    functions = form_functions()
    if form not in functions:
        raise LoweringError(
            f"a form is one of {', '.join(functions)}", repr(form), "Write am.lower(mask, frame, 'tiles')"
        )
    return functions[form]
