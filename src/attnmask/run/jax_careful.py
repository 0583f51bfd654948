"""What a row does not see does not reach it, for JAX: by the switch, since what is traced has no numbers to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from attnmask.run.careful import always

COLUMNS = 2  # of values that say which rows see a key that is not finite, and which see any


def careful(call: Callable[[Any, Any, Any], Any], q: Any, k: Any, v: Any, plain: Any = None) -> Any:
    """The output of ``call(q, k, v)``, or what it gives beside it; under ``nan_safe`` of zeros for what is not finite.

    Rows that see some of it are NaN. ``plain`` is the same without dropout, where ``call`` has it.
    """
    if not always():
        return call(q, k, v)
    lost_q, lost_k, lost_v = (~jnp.isfinite(array).all(axis=-1, keepdims=True) for array in (q, k, v))
    q, k, v = (jnp.where(jnp.isfinite(array), array, 0) for array in (q, k, v))
    codes = jnp.concatenate([lost_k | lost_v, jnp.ones_like(lost_k)], -1).astype(q.dtype)
    equal_q, equal_k = (jnp.zeros((*array.shape[:3], COLUMNS), q.dtype) for array in (q, k))
    found = (plain or call)(equal_q, equal_k, codes) > 0  # the means of the codes over what each row sees
    lost = found[..., :1] | (found[..., 1:] & lost_q)
    result = call(q, k, v)
    if isinstance(result, tuple):
        return jnp.where(lost, jnp.nan, result[0]), *(jnp.where(lost[..., 0], jnp.nan, other) for other in result[1:])
    return jnp.where(lost, jnp.nan, result)


def parted(q: Any, k: Any) -> tuple[Any, Any, Any]:
    """Under ``nan_safe`` with zeros for what is not finite, and where that makes scores NaN; else as they are, and None."""
    if not always():
        return q, k, None
    lost = lost_rows(q, q) | lost_rows(k, q).swapaxes(2, 3)
    return jnp.where(jnp.isfinite(q), q, 0), jnp.where(jnp.isfinite(k), k, 0), lost


def lost_rows(array: Any, q: Any) -> Any:
    """The queries, keys or values of each query head that are not finite (batch, heads, length, 1)."""
    return jnp.repeat(~jnp.isfinite(array).all(axis=-1, keepdims=True), q.shape[1] // array.shape[1], axis=1)
