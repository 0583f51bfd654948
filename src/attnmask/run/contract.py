"""What a call of attention must satisfy, checked once for all engines."""

from __future__ import annotations

import math
from operator import index
from typing import Any

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.language import Algebra, fold
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.define.text.parse import given
from attnmask.errors import FrameError, InputError
from attnmask.exchange.common import EVERYTHING
from attnmask.lower.arrays import library_of
from attnmask.lower.compiled import Data, compiling, constant_when_compiled, data_of, mask_of

AXES = {
    "q": "(batch, heads, q_len, dim)",
    "k": "(batch, kv_heads, kv_len, dim)",
    "v": "(batch, kv_heads, kv_len, dim_v)",
}


def checked_library(**arrays: Any) -> str:
    """The library of q, k and v, after their shapes and number formats are checked."""
    for name, array in arrays.items():
        _check_axes(name, array)
    library = library_of(*arrays.values())
    _check_shapes(**{name: tuple(array.shape) for name, array in arrays.items()})
    if library != "numpy":  # NumPy's whole numbers become float64
        _check_dtypes(arrays)
    return library


def _check_axes(name: str, array: Any) -> None:
    if getattr(array, "is_nested", False):
        raise InputError(
            f"{name} is one array {AXES[name]}",
            f"a nested tensor of layout {array.layout}",
            "Lay the sequences side by side along the length, values()[None].transpose(1, 2) of a jagged one "
            "(sequences, length, heads, dim), with mask & am.documents(lengths=offsets().diff())",
        )
    shape = getattr(array, "shape", None)
    if shape is None or len(shape) != 4:
        got = type(array).__name__ if shape is None else f"shape {tuple(shape)}"
        fix = "Give an array of NumPy, torch or JAX" if shape is None else "Add the missing axes, array[None, None]"
        raise InputError(f"{name} is {AXES[name]}", got, fix)


def _check_shapes(**shapes: tuple[int, ...]) -> None:
    q, k, v = shapes["q"], shapes["k"], shapes.get("v")
    if (q[0], q[3]) != (k[0], k[3]):
        raise InputError(
            "q and k have one batch and one dim",
            _listed(shapes),
            f"q is {AXES['q']} and k is {AXES['k']}; look for a transpose",
        )
    if v is not None and v[:3] != k[:3]:
        raise InputError(
            "v has the batch, heads and length of k",
            _listed(shapes),
            f"k is {AXES['k']} and v is {AXES['v']}; check v",
        )
    if q[1] % k[1]:
        raise InputError(
            "the heads of k divide those of q",
            f"{q[1]} and {k[1]} heads, {_listed(shapes)}",
            "Query head i uses key head i // (heads // kv_heads); give k and v heads that divide",
        )


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _check_dtypes(arrays: dict[str, Any]) -> None:
    for name, array in arrays.items():
        if "float" not in str(array.dtype):
            raise InputError("q, k and v are floating-point numbers", f"{name} of {array.dtype}", "Convert it to float")


def checked_mask(mask: object) -> Mask:
    """The mask; None shows everything."""
    mask = given(mask)
    if mask is None:
        return EVERYTHING
    if isinstance(mask, Mask):
        return mask
    shape = getattr(mask, "shape", None)
    got = type(mask).__name__ if shape is None else f"{type(mask).__name__} of {mask.dtype}, {tuple(shape)}"  # type: ignore[attr-defined]
    raise InputError(
        "mask is a Mask or None",
        got,
        "Write am.table(array) for booleans with True = visible, am.read(array, framework) for a framework's own mask, "
        "am.trace(function) for a function of positions",
    )


def checked_frame(frame: Frame | int | None, mask: Mask, q: Any, k: Any) -> Frame:
    """The frame of a call: lengths, batch and heads agree with q and k, and the mask can be seen in it."""
    # index() because torch.compile may hold a length open; a mask is compiled for one
    batch, heads, q_len, kv_len = (index(size) for size in (*q.shape[:3], k.shape[2]))
    asked = Frame(q_len, kv_len) if frame is None else Frame.of(frame)
    for name, size in (("q_len", q_len), ("kv_len", kv_len), ("batch", batch), ("heads", heads)):
        if getattr(asked, name) not in (None, size):
            raise FrameError(
                f"the frame has the {name} of q and k",
                f"{asked} for q {tuple(q.shape)}, k {tuple(k.shape)}",
                f"Write Frame({q_len}, {kv_len}, q_start=...)",
            )
    if compiling():
        return _settled_constant(data_of(mask), q_len, kv_len, asked.q_start, batch, heads)
    return _settled(mask, q_len, kv_len, asked.q_start, batch, heads)


def _settled(mask: Mask, q_len: int, kv_len: int, q_start: int | None, batch: int, heads: int) -> Frame:
    """The frame with the batch and heads of q, where no table of the mask says its own: 1, or the same."""
    said = fold(mask.node, _TableAxes())
    frame = Frame(
        q_len,
        kv_len,
        q_start=q_start,
        batch=None if "b" in said else batch,
        heads=None if "h" in said else heads,
    )
    fitted = fit(mask, frame)
    for name, of_mask, of_q in (("batch", fitted.batch, batch), ("heads", fitted.heads, heads)):
        if of_mask not in (1, of_q):
            raise FrameError(
                f"the {name} of the mask is 1 or that of q",
                f"{name} {of_mask} in {mask}, {of_q} in q",
                f"Build the mask for {name} {of_q}",
            )
    return frame


@constant_when_compiled
def _settled_constant(mask: Data, *sizes: Any) -> Frame:
    return _settled(mask_of(mask), *sizes)


class _TableAxes(Algebra[frozenset[str]]):
    """The index variables that a table has an axis for, and so a size; capital while not yet in a look-up."""

    def const(self, value: int | bool) -> frozenset[str]:
        return frozenset()

    def index(self, name: str) -> frozenset[str]:
        return frozenset({name.upper()})

    def lookup(self, table: Table, at: tuple[frozenset[str], ...]) -> frozenset[str]:
        return frozenset(name.lower() for part in at for name in part)

    def apply(self, op: str, args: tuple[frozenset[str], ...]) -> frozenset[str]:
        return frozenset(name for part in args for name in part if name.islower())


def checked_scale(scale: float | None, dim: int) -> float:
    """The factor on the scores; by default 1 / sqrt(dim)."""
    return 1.0 / math.sqrt(dim) if scale is None else scale
