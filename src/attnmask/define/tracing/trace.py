"""``trace``: turn a user's ``lambda b, h, q, k: ...`` into the language by calling it on the index variables.

The positions that the function is called with are ``Traced`` values; what is done with them becomes an expression
(values.py, operations.py, functions.py). It is called once for each way through its ifs (paths.py), as a copy whose
arrays answer traced positions (rewired.py), and at last the expression is compared with the function (check.py).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnmask.define.language import INDICES, Const, Node
from attnmask.define.mask import Mask
from attnmask.define.tracing import functions as functions  # its names are what traced values answer to
from attnmask.define.tracing.check import check
from attnmask.define.tracing.operations import value
from attnmask.define.tracing.paths import Paths, explored, joined
from attnmask.define.tracing.positions import sampled
from attnmask.define.tracing.reals import Real
from attnmask.define.tracing.rewired import Rewiring, entry
from attnmask.define.tracing.values import PATHS, SEEN, Seen, Traced, chosen, position, traced_truth, truth
from attnmask.errors import AttnmaskError, MaskError


def trace(function: Callable[..., Any]) -> Mask:
    """The mask that a function of (batch, head, query, key) positions computes.

    The function is called with values that stand for all positions, so that it may use operators, comparisons,
    ``if`` and ``and``, look-ups in tensors and arrays, and the functions of torch, NumPy and JAX that are in the
    language. Then it is run by its own framework at some real positions; if that differs, the trace is refused.

    >>> import attnmask as am
    >>> am.trace(lambda b, h, q, k: (q >= k) & (q - k < 4))
    (k <= q) & (q - k < 4)
    >>> am.trace(lambda b, h, q, k: 0 <= q - k < 4)
    (0 <= q - k) & (q - k < 4)
    >>> am.trace(lambda b, h, q, k: k in range(q))
    Traceback (most recent call last):
    attnmask.errors.MaskError: a traced function consists of operators, comparisons, look-ups and functions of arrays; got one stopped by 'a position is no number yet, and a Python list, range or int() needs that of one fixed batch, query or key: make the list a tensor or an array before the function, and look it up as tensor[b], tensor[q]' at `am.trace(lambda b, h, q, k: k in range(q))`. Say it with comparisons of b, h, q, k, & | ~, tensor[q] and torch.where.

    Args:
        function: ``function(b, h, q, k)``, True where query q may attend to key k.

    Raises:
        MaskError: the function does something that is not in the language, and the error names the line; or it
            gives something else than its trace, and the error names the position.
    """
    if not callable(function):
        raise MaskError(
            "trace takes a function of b, h, q, k", repr(function), "Write am.trace(lambda b, h, q, k: q >= k)"
        )
    function = getattr(function, "_torchdynamo_orig_callable", function)  # what torch.compile was given
    seen = Seen()
    rewiring = Rewiring(seen.frameworks)
    token = SEEN.set(seen)
    try:
        copied = rewiring.of(entry(function))
        mask = Mask(truth(joined(explored(lambda paths: _result(copied, paths)), _choose)))
        sample = sampled(mask.node, seen.lookups)
    except Exception as error:
        raise _refused(error) from error
    finally:
        SEEN.reset(token)
    check(function, sample, seen.frameworks, rewiring.device)
    return mask


def _result(function: Callable[..., Any], paths: Paths) -> Traced:
    """What one way through the function gives; what it has asked already is known."""
    token = PATHS.set(paths)
    try:
        result = value(function(*map(position, INDICES)))
    finally:
        PATHS.reset(token)
    if isinstance(result, Real):
        raise TypeError("a mask is a truth value, not a float: compare it, torch.where(mask, 0.0, -inf) == 0")
    known = paths.known.get(truth(result))
    return result if known is None else traced_truth(Const(known))


def _choose(condition: Node, yes: Traced, no: Traced) -> Traced:
    return chosen(traced_truth(condition), yes, no)


def _refused(error: Exception) -> MaskError:
    """Name the line of the user's code that stopped the trace."""
    reason, fix = str(error), "Say it with comparisons of b, h, q, k, & | ~, tensor[q] and torch.where"
    if isinstance(error, AttnmaskError):
        reason, fix = f"{error.rule}, got {error.got}", error.fix
    package = str(Path(__file__).parents[2])
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(package)]
    own = [
        frame for frame in frames if "site-packages" not in frame.filename
    ] or frames  # not torch's, if there are any
    lines = [frame.line for frame in own if frame.line]
    place = f" at `{lines[-1].strip()}`" if lines else ""
    return MaskError(
        "a traced function consists of operators, comparisons, look-ups and functions of arrays",
        f"one stopped by {reason!r}{place}",
        fix,
    )
