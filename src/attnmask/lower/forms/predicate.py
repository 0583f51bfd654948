"""``predicate``: the mask as a function of positions, as FlexAttention's ``mask_mod`` wants it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attnmask.define.fit import Fitted, fit
from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import LoweringError
from attnmask.lower.arrays import evaluate, library_of
from attnmask.lower.closures import closure
from attnmask.lower.grid import fits_jax


def lower(mask: Mask, frame: Frame | int, *, device: Any = "cpu") -> Callable[[Any, Any, Any, Any], Any]:
    """A function ``(b, h, q, k) -> visible`` of rows and columns of the frame: query row 0 stands at ``q_start``.

    It takes numbers or arrays of NumPy, torch or JAX, and works inside their compilers.

    >>> import attnmask as am
    >>> sees = am.lower(am.causal(), am.Frame(2, 5, align="end"), "predicate")
    >>> sees(0, 0, 0, 3), sees(0, 0, 0, 4)
    (True, False)

    Args:
        mask: the mask.
        frame: where it is seen.
        device: where the mask's tables lie for tensors of torch.

    Raises:
        LoweringError: when called with arrays of JAX, for a mask whose numbers need more than their 32 bits.
    """
    fitted, torch = fit(mask, frame), sys.modules.get("torch")
    start, of_tensors = fitted.q_start, None if torch is None else closure(mask.node, torch, device)

    def mask_mod(b: Any, h: Any, q: Any, k: Any) -> Any:
        q = q + start if start else q
        if of_tensors is not None and isinstance(k, torch.Tensor):  # type: ignore[union-attr]  # torch.compile looks here
            value = of_tensors(b, h, q, k)
        else:
            _check_bits(mask, fitted, b, h, q, k)
            value = evaluate(mask.node, b, h, q, k)
        if isinstance(value, bool) and hasattr(k, "dtype"):
            return (k >= 0) == value  # kernels want an array even where nothing varies
        return value

    return mask_mod


def _check_bits(mask: Mask, frame: Fitted, *positions: Any) -> None:
    if library_of(*positions) == "jax" and not fits_jax(mask, frame):
        raise LoweringError(
            "JAX computes positions in 32 bits",
            f"{mask}, which makes larger numbers of {frame.q_len} queries and {frame.kv_len} keys",
            'Write jax.config.update("jax_enable_x64", True), or use mask.dense(frame)',
        )
