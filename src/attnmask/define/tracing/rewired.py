"""A copy of a user's function whose arrays answer traced positions: nothing of the user's own is changed.

torch asks a traced value what a look-up or a function gives; NumPy's ``array[q]`` and all of JAX want a number at once.
So in the copy, arrays of NumPy and JAX are ``Lookups`` (arrays of NumPy that know traced positions), and the modules
``jax``, ``jax.numpy`` and ``numpy`` and their functions answer traced values by name.
"""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from attnmask.define.tracing.rows import rows_of
from attnmask.define.tracing.values import Value, called

ROOTS = ("torch", "numpy", "jax")
LONGEST, DEEPEST = 1000, 3  # of lists, and of objects in objects, that are searched for arrays


def root_of(value: Any) -> str:
    """The package that a value's type, or a module or function, comes from."""
    if isinstance(value, types.ModuleType):
        name = value.__name__
    elif callable(value):
        name = getattr(value, "__module__", None) or type(value).__module__
    else:
        name = type(value).__module__
    root = str(name).partition(".")[0]
    return "jax" if root == "jaxlib" else root


def is_array(value: Any) -> bool:
    """Whether this is an array of NumPy, torch or JAX, which is looked at by its type's name alone."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "__getitem__")


@functools.cache
def lookups_type() -> Any:
    """The arrays of NumPy that know traced positions."""
    ndarray = sys.modules["numpy"].ndarray

    def getitem(self: Any, at: Any) -> Any:
        places = at if isinstance(at, tuple) else (at,)
        if any(isinstance(place, Value) for place in places):
            return rows_of(self)[at]
        return ndarray.__getitem__(self, at)

    return type("Lookups", (ndarray,), {"__getitem__": getitem})


class _Module:
    """A module of NumPy or JAX whose functions answer traced values."""

    def __init__(self, module: types.ModuleType, rewiring: Rewiring) -> None:
        self._module, self._rewiring = module, rewiring

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, types.ModuleType):
            return _Module(value, self._rewiring)
        return self._rewiring.answering(value, name) if callable(value) else self._rewiring.of(value)


class Rewiring:
    """One copying; it remembers what it has copied, and notes the frameworks whose arrays were among it."""

    def __init__(self, frameworks: set[str]) -> None:
        self.done: dict[int, tuple[Any, Any]] = {}  # id -> (original, kept so that its id stays taken; copy)
        self.frameworks = frameworks
        self.depth = 0
        self.device: Any = None  # of the first tensor of torch

    def of(self, value: Any) -> Any:
        """The value as the traced run is to see it."""
        if isinstance(value, (int, float, str, bytes, type, type(None))):
            return value
        if id(value) not in self.done:
            self.done[id(value)] = (value, value)  # while it is under way
            self.done[id(value)] = (value, self._copied(value))
        return self.done[id(value)][1]

    def _copied(self, value: Any) -> Any:
        root = root_of(value)
        if root in ROOTS and is_array(value):
            return self._array(value, root)
        if isinstance(value, types.ModuleType):
            return _Module(value, self) if root in ("numpy", "jax") else value
        if isinstance(value, types.FunctionType) and root not in ("numpy", "jax"):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return types.MethodType(self.of(value.__func__), self.of(value.__self__))
        if isinstance(value, functools.partial):
            parts = {name: self.of(part) for name, part in value.keywords.items()}
            return functools.partial(self.of(value.func), *map(self.of, value.args), **parts)
        if type(value) in (list, tuple, dict):
            return self._container(value)
        if callable(value) and root in ("numpy", "jax"):
            return self.answering(value, getattr(value, "__name__", ""))
        if callable(value) and hasattr(value, "__wrapped__"):  # jax.jit, functools.cache
            return self.of(value.__wrapped__)
        return self._object(value)

    def _array(self, value: Any, root: str) -> Any:
        if value.shape or root == "torch":  # single numbers do not say who runs the function
            self.frameworks.add(root)
        if root == "torch":
            self.device = value.device if self.device is None else self.device
            return value
        return self._lookups(value)

    def _lookups(self, value: Any) -> Any:
        array = value.__array__() if hasattr(value, "__array__") else value
        return array.view(lookups_type()) if hasattr(array, "view") else value

    def _function(self, function: types.FunctionType) -> Any:
        """The function with the same code, and other cells, defaults and globals."""
        code = function.__code__
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        scope = dict(function.__globals__)
        made = types.FunctionType(code, scope, function.__name__, None, cells or None)
        self.done[id(function)] = (function, made)  # it may call itself
        made.__defaults__ = self.of(function.__defaults__)
        made.__kwdefaults__ = self.of(function.__kwdefaults__)
        made.__dict__.update(function.__dict__)
        for cell, own in zip(cells, function.__closure__ or (), strict=True):
            for content in _content(own):
                cell.cell_contents = self.of(content)
        if root_of(function) not in ROOTS:
            for name in set(_names(code)) & scope.keys():
                scope[name] = self.of(scope[name])
        return made

    def _container(self, value: Any) -> Any:
        """A list, tuple or dict of what is copied; the same one if there is nothing of this kind in it."""
        if len(value) > LONGEST:
            return value
        parts = list(value.values()) if type(value) is dict else list(value)
        copies = list(map(self.of, parts))
        if all(own is part for own, part in zip(copies, parts, strict=True)):
            return value
        return dict(zip(value, copies, strict=True)) if type(value) is dict else type(value)(copies)

    def _object(self, value: Any) -> Any:
        """An object that holds arrays, with copies of them; any other stays as it is."""
        own = getattr(value, "__dict__", None)
        if not own or self.depth == DEEPEST or root_of(value) in ROOTS:
            return value
        self.depth += 1
        parts = {name: self.of(part) for name, part in own.items()}
        self.depth -= 1
        if all(parts[name] is part for name, part in own.items()):
            return value
        made = copy.copy(value)
        made.__dict__.update(parts)
        return made

    def answering(self, function: Callable[..., Any], name: str) -> Any:
        """A function of NumPy or JAX that answers traced values by name, and gives arrays that know positions."""
        if isinstance(function, type):
            return function

        def answer(*args: Any, **kwargs: Any) -> Any:
            if _holds_traced((*args, *kwargs.values())):
                return called(root_of(function), name, args, kwargs)
            result = function(*args, **kwargs)
            return self._lookups(result) if is_array(result) else result

        return answer


def _content(cell: types.CellType) -> Iterator[Any]:
    try:
        yield cell.cell_contents
    except ValueError:  # a variable without a value yet
        return


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that a function and those inside it may take from its module."""
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, types.CodeType):
            yield from _names(part)


def _holds_traced(values: Any) -> bool:
    return any(isinstance(value, Value) or (type(value) in (list, tuple) and _holds_traced(value)) for value in values)


def entry(function: Callable[..., Any]) -> Any:
    """What is called: the function itself, or the ``__call__`` of an object."""
    call = getattr(type(function), "__call__", None)  # noqa: B004
    return types.MethodType(call, function) if isinstance(call, types.FunctionType) else function
