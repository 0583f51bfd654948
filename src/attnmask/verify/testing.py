"""One line in a test-suite: assert that a model does not leak.

am.testing.assert_causal(model, ids)
am.testing.assert_no_leak(model, ids, allowed=am.window(4) & am.documents(document_ids))
am.testing.assert_padding_ignored(encoder, {"input_ids": ids, "attention_mask": valid})
am.testing.assert_documents_isolated(model, packed, document_ids)
am.testing.assert_cache_consistent(decoder, ids)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.documents import documents
from attnmask.define.masks.everything import everything
from attnmask.errors import InputError
from attnmask.verify.check import check
from attnmask.verify.report import GOOD


def assert_no_leak(model: Any, inputs: Any, *, allowed: Mask | str, **options: Any) -> None:
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
    """Fail with the report unless the content of padding changes no real output; anything else may be seen.

    Fails as well where no padding could be tried: give the padding mask among the inputs, and its name if it is not
    ``attention_mask`` or the like: ``padding="mask"``.
    """
    report = check(model, inputs, allowed=everything(), **options)
    if not report.ok:
        raise AssertionError(report.text())
    removed = any(one.name == "removed pads" and one.outcome in GOOD for one in report.tried)
    if not removed and all(section.allowed_cells.all() for section in report.sections):
        why = [one.why for one in report.tried if one.outcome == "untested" and one.name == "padding"]
        raise AssertionError(
            f"padding must be tried; got {why[0] if why else 'a padding mask that hides nothing'}. "
            "Give inputs with padding and their mask, and padding='its name'"
        )


def assert_documents_isolated(model: Any, inputs: Any, ids: Any, **options: Any) -> None:
    """Fail with the report unless no output depends on another document of its row.

    Args:
        model: as in ``check``.
        inputs: as in ``check``.
        ids: the document of each position, (length,) or (batch, length), or a ``documents`` mask.
        options: as in ``check``.
    """
    assert_no_leak(model, inputs, allowed=ids if isinstance(ids, Mask) else documents(ids), **options)


def assert_cache_consistent(
    model: Any, ids: Any, *, chunks: Sequence[int] | None = None, output: Callable[[Any], Any] | None = None
) -> None:
    """Fail unless decoding with a cache gives what one pass over all tokens gives, in float64 where the model runs in it.

    Args:
        model: a torch module called as Hugging Face decoders are: ``model(ids, past_key_values=, use_cache=True)``.
        ids: token ids (batch, length) of any library, or a dict of named inputs.
        chunks: how many tokens each call gets; by default half of them, then one at a time.
        output: takes the model's result to the array (batch, length, ...) that is compared.

    Raises:
        InputError: the model takes no cache or gives none back, or the chunks do not add up.
    """
    if not hasattr(model, "named_parameters"):
        raise InputError("a torch module is decoded with a cache", type(model).__name__, "Give the module itself")
    from attnmask.verify.torch.decoded import decoded

    found = decoded(model, ids, chunks, output)
    if found is not None:
        raise AssertionError(
            f"decoding with a cache departs from the full pass at position {found.position}, in call {found.call}: "
            f"the outputs differ by {found.size:.1e}" + (f", first from {found.module}" if found.module else "")
        )
