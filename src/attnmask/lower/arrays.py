"""Evaluate an expression with whatever arrays are given: NumPy, torch or JAX, and values under their compilers.

Operators do nearly all the work. What differs between the libraries is ``where`` and how a table becomes an array;
the library is found through the arrays themselves, so that none is imported here but NumPy.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from attnmask.define.language import Algebra, Node, fold
from attnmask.define.tables import SparseTable, Table
from attnmask.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])


def numpy_of(table: Table) -> NDArray[Any]:
    """A read-only NumPy view of a table, without a copy; of a sparse one, the sorted codes of its entries."""
    if isinstance(table, SparseTable):
        return np.frombuffer(table.data, np.dtype("<i8"))
    dtype = np.bool_ if table.kind == "bool" else np.dtype("<i8")
    return np.frombuffer(table.data, dtype).reshape(table.shape)


def library_of(*arrays: Any) -> str:
    """``"numpy"``, ``"torch"`` or ``"jax"``: the one library that the arrays belong to; numbers belong to NumPy.

    >>> library_of(np.arange(3), 5)
    'numpy'
    """
    roots = {type(array).__module__.partition(".")[0] for array in arrays}
    found = {("jax" if root == "jaxlib" else root) for root in roots} - {"builtins"}
    if found <= {"numpy"}:
        return "numpy"
    others = found - {"numpy"}
    if len(others) == 1 and others <= {"torch", "jax"}:
        return others.pop()
    raise InputError(
        "arrays belong to one library: NumPy, torch or JAX",
        " and ".join(sorted(found)),
        "Convert them to one library first",
    )


def faked(array: Any) -> bool:
    """Whether torch keeps shapes and computes no numbers: what it makes of a mask now must not be kept for later."""
    torch, fake = sys.modules["torch"], sys.modules.get("torch._subclasses.fake_tensor")
    if fake is None:
        return False
    mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)
    return mode is not None or isinstance(array, fake.FakeTensor)


def constant_when_compiled(function: F) -> F:
    """Let torch.compile run a function once while it compiles, instead of looking inside.

    Its arguments must be plain values; other values compile again. torch reads this mark; it is what torch's own
    decorator sets, written here so that torch need not be imported.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def compiling() -> bool:
    """Whether torch records a program: torch.compile, torch.export, torch.jit.trace and so ONNX, or make_fx.

    What a program needs must be in it: nothing that is kept in this process, nor the choice that suits it.
    """
    torch = sys.modules.get("torch")
    return torch is not None and (torch.compiler.is_compiling() or tracing())


def tracing() -> bool:
    """Whether torch.jit.trace or make_fx records what torch executes."""
    modes = sys.modules["torch"]._C
    proxies = modes._get_dispatch_mode(modes._TorchDispatchModeKey.PROXY) is not None
    return proxies or modes._get_tracing_state() is not None


def exporting() -> bool:
    """Whether the program that is recorded leaves this process, which may have neither attnmask nor this processor."""
    torch = sys.modules.get("torch")
    return torch is not None and (torch.compiler.is_exporting() or (not torch.compiler.is_compiling() and tracing()))


def _torch_table(table: Table, device: Any) -> Any:
    torch = sys.modules["torch"]
    with torch._C._DisableFuncTorch():  # a table made inside torch.func must still serve outside
        return torch.tensor(numpy_of(table), device=device)


def _table(sparse: bool, kind: Any, shape: tuple[int, ...], data: bytes) -> Table:
    return (SparseTable if sparse else Table)(kind, shape, data)


@constant_when_compiled
def _tensor(device: str, *parts: Any) -> Any:
    return _torch_table(_table(*parts), device)


@constant_when_compiled
def _text(*parts: Any) -> str:
    from attnmask.lower import torch_tables  # defines the operation that takes the text

    return torch_tables.text_of(_table(*parts))


@constant_when_compiled
def _entry(*parts: Any) -> int:
    return _table(*parts)[()]


def _parts(table: Table) -> tuple[Any, ...]:
    """A table as plain values, which torch.compile can hand to a constant function; it cannot look into one."""
    shape = tuple(operator.index(size) for size in table.shape)  # which torch.compile may hold open
    return isinstance(table, SparseTable), table.kind, shape, table.data


_kept_torch_table = functools.lru_cache(maxsize=64)(_torch_table)


def _table_in(library: str, table: Table, at: tuple[Any, ...]) -> Any:
    if library == "torch":
        devices = [place.device for place in at if hasattr(place, "device")]
        device = devices[0] if devices else "cpu"
        if exporting():
            return _tensor(str(device), *_parts(table))
        if compiling():
            text = _text(*_parts(table))  # first: it defines the operation
            return sys.modules["torch"].ops.attnmask.table.default(text, device)
        return (_torch_table if any(map(faked, at)) else _kept_torch_table)(table, device)
    return sys.modules["jax.numpy"].asarray(numpy_of(table)) if library == "jax" else numpy_of(table)


class Evaluation(Algebra[Any]):
    """The algebra of arrays that broadcast against each other."""

    def __init__(self, indices: Mapping[str, Any]) -> None:
        self.indices = indices
        self.library = library_of(*indices.values())
        self.module: Any = sys.modules[{"numpy": "numpy", "torch": "torch", "jax": "jax.numpy"}[self.library]]

    def const(self, value: int | bool) -> Any:
        return value

    def index(self, name: str) -> Any:
        return self.indices[name]

    def lookup(self, table: Table, at: tuple[Any, ...]) -> Any:
        if not at:
            return _entry(*_parts(table)) if compiling() else table[()]
        entries = _table_in(self.library, table, at)
        if not isinstance(table, SparseTable):
            return entries[at]
        if not len(entries):
            return False
        code = at[0] * table.shape[1] + at[1]
        place = self.module.searchsorted(entries, self.module.asarray(code))
        return entries[self.where(place < len(entries), place, 0)] == code

    def apply(self, op: str, args: tuple[Any, ...]) -> Any:
        if op in OPERATORS:
            return functools.reduce(OPERATORS[op], args)
        if op == "abs":
            return abs(args[0])
        if op == "~":
            return operator.xor(args[0], True)
        if op == "where":
            return self.where(*args)
        x, y = args
        return self.where(x < y, *((x, y) if op == "minimum" else (y, x)))

    def where(self, condition: Any, x: Any, y: Any) -> Any:
        """Choose by position; conditions of pure numbers choose at once."""
        if isinstance(condition, (bool, np.bool_)):
            return x if condition else y
        return self.module.where(condition, x, y)


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    "&": operator.and_,
    "|": operator.or_,
}


def evaluate(node: Node, b: Any, h: Any, q: Any, k: Any) -> Any:
    """The value of an expression at positions: integers, or integer arrays that broadcast.

    The result broadcasts over the positions that occur in the expression, and is a plain bool or int where none is
    an array.

    >>> import attnmask as am
    >>> evaluate(am.causal().node, 0, 0, np.arange(3)[:, None], np.arange(3)).astype(int)
    array([[1, 0, 0],
           [1, 1, 0],
           [1, 1, 1]])
    """
    return fold(node, Evaluation({"b": b, "h": h, "q": q, "k": k}))
