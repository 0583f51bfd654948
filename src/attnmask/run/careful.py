"""What a row does not see must not reach it: the switch where nobody may look at the numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_ON = 0  # how many of the contexts are open, in all threads; a plain number, which torch.compile watches


@contextlib.contextmanager
def nan_safe() -> Iterator[None]:
    """Keep NaN and infinity in hidden keys and values from rows that do not see them, in every engine and compiler.

    They stand in a cache or in padding that was never written, and 0 times NaN is NaN. Tensors on the CPU are always
    kept safe, by a second pass where a result is not finite. With JAX, on a GPU and in compiled programs no result can
    be looked at without waiting for it: there this switch cleans all keys and values, and a second, narrower call says
    which rows see some of it: these are NaN, as are rows that are not finite themselves.

    It counts when a function is traced: for ``jax.jit``, call it inside of the function.

    >>> import attnmask as am
    >>> with am.nan_safe():
    ...     pass  # output = am.attention(q, k, v, mask)
    """
    global _ON
    _ON += 1
    try:
        yield
    finally:
        _ON -= 1


def always() -> bool:
    """Whether the switch is on."""
    return _ON > 0
