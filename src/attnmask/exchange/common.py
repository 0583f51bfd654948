"""What the framework files share: arrays as NumPy, arrays as masks, and the refusals they have in common."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.fit import fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask, b, h, k, lookup, q
from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.define.masks.padding import padding
from attnmask.define.masks.table import table
from attnmask.define.normal.framed import Plain, plain
from attnmask.define.normal.named import named
from attnmask.errors import FrameError, FrameworkError
from attnmask.exchange import objects
from attnmask.lower import emptiness
from attnmask.lower.size import warn_of_dense

FOREIGN = ("bfloat16", "float8")  # formats that NumPy does not have

# Added to a score, this hides a key in practice; -9984 is what bfloat16 makes of -1e4.
HIDING_BIAS = -9984.0

WEAKEST = -10.0  # numbers above this one are a bias, not a fill

CAUSAL = causal()
EVERYTHING = everything()


@functools.lru_cache(maxsize=256)  # every call of attention asks
def plain_in(mask: Mask, frame: Frame) -> Plain:
    """``"everything"``, ``"causal"`` from the first row and key, or ``"other"``: the masks that frameworks have a flag for."""
    return plain(mask, fit(mask, frame))


def as_numpy(value: Any) -> NDArray[Any]:
    """An array of any framework, or a mask object of one, as NumPy; floats that NumPy does not have become float32."""
    value = objects.plain(value)
    if hasattr(value, "detach"):  # a torch tensor
        value = value.detach().cpu()
        value = value.float() if any(name in str(value.dtype) for name in FOREIGN) else value.numpy()
    array = np.asarray(value)
    if array.dtype == object:
        fix = "Give its array, of booleans or of floating-point numbers"
        raise FrameworkError("a mask is an array", f"{type(value).__name__}, which holds objects", fix)
    return array.astype(np.float32) if any(name in str(array.dtype) for name in FOREIGN) else array


def meant(mask: Mask, frame: Frame) -> Mask:
    """The mask in the words of the library, so that what is exported does not depend on its spelling."""
    fit(mask, frame)
    found = named(mask)
    try:
        fit(found, frame)
    except FrameError:  # another form of a position may no longer be seen to stay inside its table
        return mask
    return found


def exported_shape(mask: Mask, frame: Frame, item_bytes: int = 1) -> tuple[int, int, int, int]:
    """The shape of a mask array to export: that of the dense mask, but one row where no query differs.

    Warns where such an array takes gigabytes.
    """
    fitted = fit(mask, frame)
    exported = fitted if "q" in mask.depends_on else fitted._replace(q_len=1)
    warn_of_dense(mask, exported, item_bytes)
    return exported.shape


def checked_keys(value: Mapping[str, Any], masking: tuple[str, ...], other: tuple[str, ...] = ()) -> None:
    """Refuse keyword arguments that are unknown, so that none that masks is overlooked."""
    unknown = sorted(set(value) - set(masking) - set(other))
    if unknown:
        raise FrameworkError(
            f"the arguments that mask are {', '.join(masking)}", ", ".join(unknown), "Leave out the other arguments"
        )


def visible_of_bool_or_bias(array: NDArray[Any], where: str) -> NDArray[np.bool_]:
    """True = visible, from a bias of floating-point numbers that is added to the scores."""
    if "float" not in str(array.dtype):
        raise FrameworkError(
            f"{where} is boolean or floating-point",
            f"{array.dtype} of shape {array.shape}",
            "Write array.bool() if 1 means what True means there, after am.diagnose(array)",
        )
    visible: NDArray[np.bool_] = array == 0
    if not np.all(visible | (array <= HIDING_BIAS)):
        _refuse_bias(array, where)
    return visible


def _refuse_bias(array: NDArray[Any], where: str) -> None:
    values = np.unique(array)
    if set(values.tolist()) <= {0.0, 1.0}:
        raise FrameworkError(
            f"{where} of floating-point numbers is added to the scores",
            f"only the numbers 0 and 1, shape {array.shape}: adding 1 hides nothing",
            "Convert it to booleans, array.bool()",
        )
    odd = values[(values != 0) & ~(values <= HIDING_BIAS)]
    if len(values) == 2 and values[1] == 0 and values[0] <= WEAKEST:
        raise FrameworkError(
            f"{where} of floating-point numbers is a mask if it is 0 (visible) or at most -1e4 (hidden)",
            f"a fill of {values[0]:g}: a score difference of {-values[0]:g} shows what it should hide",
            "Read array == 0 for the mask that was meant; am.diagnose(array) says more",
        )
    raise FrameworkError(
        f"{where} of floating-point numbers is a mask if it is 0 (visible) or at most -1e4 (hidden)",
        f"a bias that is not a mask, with {', '.join(f'{value:g}' for value in odd[:3])}",
        "Add the bias to the scores yourself, and read the mask alone",
    )


def mask_of_array(visible: NDArray[np.bool_], q_start: int) -> Mask:
    """The mask of booleans (q_len, kv_len) or (batch, heads, q_len, kv_len) whose row 0 stands at q_start.

    An axis of size 1 stands for all positions, as it does where arrays broadcast.
    """
    cells = visible.reshape((1,) * (4 - visible.ndim) + visible.shape)
    batch, heads, q_len, kv_len = cells.shape
    if kv_len > 1 and q_len > 1:
        return table(visible).shift(q=-q_start)
    if kv_len > 1 and heads == 1:
        return padding(valid=cells[:, 0, 0] if batch > 1 else cells[0, 0, 0])
    places = (0 if size == 1 else index for size, index in zip(cells.shape, (b, h, q, k), strict=True))
    mask: Mask = lookup(cells, *places)
    return mask.shift(q=-q_start)


def causal_from_start(q_start: int) -> Mask:
    """Causal in a framework's own count: row i sees keys 0 .. i, wherever row 0 stands."""
    return CAUSAL.shift(q=-q_start)


def refuse_empty_rows(mask: Mask, frame: Frame, empty_rows: str, effect: str) -> None:
    """Refuse a mask whose empty rows would not be zero, unless that is accepted."""
    if empty_rows not in ("refuse", "keep"):
        raise FrameworkError("empty_rows is 'refuse' or 'keep'", repr(empty_rows), "Write empty_rows='keep'")
    if empty_rows == "keep":
        return
    rows = emptiness.listed(mask, mask.empty_rows(frame))
    if rows is not None:
        raise FrameworkError(f"a query that sees nothing gives {effect}", rows, emptiness.FIX)


def checked_shape(array: NDArray[Any], axes: Mapping[int, str], where: str, fix: str) -> None:
    """Refuse an array whose number of axes a framework does not read, or reads as something else."""
    if array.ndim not in axes:
        raise FrameworkError(f"{where} is {' or '.join(axes.values())}", f"shape {array.shape}", fix)
