"""One line in a test-suite: assert that a model does not leak.

am.testing.assert_causal(model, ids)
am.testing.assert_no_leak(model, ids, allowed=am.window(4) & am.documents(document_ids))
am.testing.assert_padding_ignored(encoder, {"input_ids": ids, "attention_mask": valid})
"""

from __future__ import annotations

from typing import Any

from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.verify.check import check


def assert_no_leak(model: Any, inputs: Any, *, allowed: Mask, **options: Any) -> None:
    """Fail with the report unless no output depends on anything that ``allowed`` forbids; options as in ``check``."""
    report = check(model, inputs, allowed=allowed, **options)
    if not report.ok:
        raise AssertionError(report.text())


def assert_causal(model: Any, inputs: Any, **options: Any) -> None:
    """Fail with the report unless every output depends on positions up to its own only.

    >>> import numpy as np
    >>> import attnmask as am
    >>> am.testing.assert_causal(lambda x: np.cumsum(x, axis=1), np.ones((1, 5, 2)))
    """
    assert_no_leak(model, inputs, allowed=causal(), **options)


def assert_padding_ignored(model: Any, inputs: Any, **options: Any) -> None:
    """Fail with the report unless the content of padding changes no real output; anything else may be seen."""
    assert_no_leak(model, inputs, allowed=everything(), **options)
