"""The compiled kernel: attention of blocks of rows over listed keys. ``blocks.cpp`` says how it works.

It is compiled when attnmask is installed, for AVX-512 and AVX2, or for NEON; where it is missing, the engine
``cpu`` refuses. ``groups.cpp`` is for few rows that read a key together, and ``tiled.cpp`` for bfloat16 where the
processor multiplies that, by AMX or by the AVX-512 instructions for it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from typing import Any, NamedTuple

VARIANTS = ("avx512", "avx2", "neon")  # the fastest first; setup.py compiles them
TILED = ("amx", "bf16")  # likewise, for bfloat16 in blocks of as many rows as those of AVX-512
HIDDEN = frozenset(os.environ.get("ATTNMASK_HIDE", "").split(","))  # instruction sets that are not to be used

Number = ctypes.c_int64
Address = ctypes.c_void_p


class Array(ctypes.Structure):
    """The address of an array (batch, heads, length, numbers), and how many numbers apart its first three axes lie."""

    _fields_ = [("data", Address), ("batch", Number), ("head", Number), ("row", Number)]


class Call(ctypes.Structure):
    """The arguments of the kernel, as ``struct Call`` in ``call.h`` has them."""

    _fields_ = [
        *((name, Number) for name in ("type", "threads", "batch", "heads", "kv_heads", "kv_len", "dim", "dim_v")),
        *((name, Number) for name in ("list_batch", "list_heads", "blocks")),
        *((name, Address) for name in ("rows", "offsets", "start", "stop", "seen")),
        *((name, Array) for name in ("q", "k", "v", "output", "lse", "grad", "grad_q", "grad_lse")),
        *(("parts", Number), ("grad_k", Address), ("grad_v", Address)),
        *(("size", Number), ("q_len", Number), ("key_grad", Array), ("value_grad", Array), ("grad_q_sums", Address)),
    ]


class Kernel(NamedTuple):
    """A kernel that runs on this machine.

    Attributes:
        variant: what it was compiled for.
        rows: query rows in a block.
        amx: whether this processor multiplies bfloat16 by AMX, many times as fast as float.
        forward: computes ``output`` and ``lse`` of a call, whose scores are scaled by its second argument.
        backward: computes ``grad_q`` and adds to ``grad_k`` and ``grad_v``.
        groups_forward: as ``forward``, of groups of few rows that read a key together; may be None.
        by_key_backward: computes ``key_grad`` and ``value_grad`` and adds to ``grad_q_sums``, of lists of rows by key;
            None where tiles are multiplied.
    """

    variant: str
    rows: int
    amx: bool
    forward: Any
    backward: Any
    groups_forward: Any = None
    by_key_backward: Any = None


def kernel() -> Kernel | None:
    """The fastest kernel that runs here; None where there is none."""
    return next(iter(kernels().values()), None)


@functools.cache
def kernels() -> dict[int, Kernel]:
    """The kernels that run here by their rows per block, the fastest first."""
    return {found.rows: found for found in map(_loaded, VARIANTS) if found is not None}


@functools.cache
def kernel_of(rows: int, dtype: str) -> Kernel:
    """The fastest kernel that runs here for blocks of so many rows and a number format."""
    plain = kernels()[rows]
    tiled = map(_loaded, TILED) if (plain.variant, dtype) == ("avx512", "bfloat16") else ()
    return next((found for found in tiled if found is not None), plain)


@functools.cache
def groups_of(rows: int, dtype: str) -> Kernel:
    """The same for groups, beside blocks of so many rows."""
    found = kernel_of(rows, dtype)
    return kernels()[rows] if found.groups_forward is None else found


def missing() -> str:
    """Why there is no kernel."""
    if HIDDEN & {*VARIANTS} and any(map(_path, VARIANTS)):
        return f"ATTNMASK_HIDE hides {', '.join(sorted(HIDDEN & {*VARIANTS}))}, and there is nothing else here"
    if any(map(_path, VARIANTS)):
        return "this processor has neither AVX-512 nor AVX2"
    return (
        "its kernel was not compiled when attnmask was installed; that needs Linux on x86-64 or AArch64 and g++ 12 or "
        "later, or macOS on arm64 and clang"
    )


def _path(variant: str) -> str | None:
    found = importlib.util.find_spec(f"{__name__}.{variant}")
    return None if found is None else found.origin


def _loaded(variant: str) -> Kernel | None:
    path = None if variant in HIDDEN else _path(variant)
    if path is None:
        return None
    library = ctypes.CDLL(path)
    for question in (library.attnmask_runs_here, library.attnmask_has_amx):
        question.restype = ctypes.c_bool
    if not library.attnmask_runs_here():
        return None
    functions = {name: getattr(library, f"attnmask_{name}", None) for name in Kernel._fields[3:]}
    for function in filter(None, functions.values()):
        function.argtypes, function.restype = (ctypes.POINTER(Call), ctypes.c_float), None
    rows, amx = library.attnmask_rows(), library.attnmask_has_amx() and "amx" not in HIDDEN
    return Kernel(variant, rows, amx, **functions)
