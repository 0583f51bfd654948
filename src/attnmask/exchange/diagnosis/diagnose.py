"""``diagnose``: name the mistakes in a mask array, or in a matrix of masked scores, from the array alone.

values.py    what kind of array is this, which cells were meant to be visible, which numbers hide
fills.py     the mistakes that show in the numbers, one function each
pattern.py   the visible cells, row by row
mistakes.py  the mistakes that show in the pattern, one function each
inverted.py  whether the opposite of a mask is a known mask, and the mask itself is not

A new mistake is one more function in ``fills.MISTAKES`` or ``mistakes.MISTAKES``, and one row of the table of arrays in
its test.
"""

from __future__ import annotations

from typing import Any

from attnmask.errors import InputError
from attnmask.exchange.common import as_numpy
from attnmask.exchange.diagnosis import fills, mistakes
from attnmask.exchange.diagnosis.finding import Finding
from attnmask.exchange.diagnosis.pattern import Pattern
from attnmask.exchange.diagnosis.values import Values
from attnmask.exchange.exchange import checked_framework


def diagnose(array: Any, framework: str | None = None) -> list[Finding]:
    """The mistakes that a mask array shows, for people who were handed one.

    Takes what goes around in code: booleans, numbers 0 and 1, additive biases, and whole matrices of masked scores,
    of NumPy, torch or JAX, (q_len, kv_len) or with any axes before; and mask objects that hold an array, such as
    torch's ``CausalBias`` and the biases of xFormers.

    >>> import numpy as np
    >>> import attnmask as am
    >>> [finding.code for finding in am.diagnose(np.triu(np.ones((3, 3), bool), 1))]
    ['inverted-polarity', 'hidden-self', 'empty-row']
    >>> am.diagnose(np.tril(np.ones((3, 3), bool)))
    []
    >>> [finding.code for finding in am.diagnose(np.where(np.tri(3, dtype=bool), 0, -100.0))]
    ['weak-fill']

    Args:
        array: at least two axes, queries and keys last.
        framework: whose convention the array follows; it decides what True and 1 mean. By default True is visible.

    Returns:
        Findings in the order in which the mistakes are listed, each code once.
    """
    if framework is not None:
        checked_framework(framework)
    numbers = as_numpy(array)
    if numbers.dtype.kind not in "biuf":
        raise InputError("a mask holds booleans or numbers", f"dtype {numbers.dtype}", "Convert it to bool or float")
    if numbers.ndim < 2 or numbers.size == 0:
        raise InputError(
            "a mask has a query and a key axis",
            f"shape {numbers.shape}",
            "Give (q_len, kv_len) or (..., q_len, kv_len)",
        )
    values = Values(numbers, str(getattr(array, "dtype", numbers.dtype)), framework)
    pattern = Pattern(values.visible)
    found = [finding for mistake in fills.MISTAKES for finding in mistake(values)]
    found += [finding for mistake in mistakes.MISTAKES for finding in mistake(pattern)]
    once: dict[str, Finding] = {}
    for finding in found:
        once.setdefault(finding.code, finding)
    return list(once.values())
