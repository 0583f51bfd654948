"""``attention`` and ``attention_weights``: the two calls that run a mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.selection import Selection
from attnmask.run.calls import settled
from attnmask.run.contract import checked_scale
from attnmask.run.request import formula_where_kernels_end
from attnmask.run.selecting import selecting
from attnmask.run.watching import WATCHERS, watched


def attention(
    q: Any,
    k: Any,
    v: Any,
    mask: Mask | Selection | str | None = None,
    *,
    frame: Frame | int | None = None,
    scale: float | None = None,
    engine: str | None = None,
    return_lse: bool = False,
) -> Any:
    """Attention under a mask: ``softmax(scale * q k^T, over the visible keys) v``.

    A hidden key has weight exactly 0. A query that sees no key gives exactly 0, with gradient 0.

    >>> import attnmask as am
    >>> import numpy as np
    >>> q, k = np.zeros((1, 1, 2, 4)), np.zeros((1, 1, 3, 4))
    >>> v = np.array([[[[1.0], [3.0], [8.0]]]])
    >>> am.attention(q, k, v, am.causal(), frame=am.Frame(2, 3, align="end"))[0, 0]
    array([[2.],
           [4.]])

    The log-sum-exp of the scores is what merges parts of the keys:

    >>> first, lse = am.attention(q, k, v, am.k < 1, return_lse=True)
    >>> rest, lse_of_rest = am.attention(q, k, v, am.k >= 1, return_lse=True)
    >>> share = np.exp(lse - np.logaddexp(lse, lse_of_rest))[..., None]
    >>> np.allclose(share * first + (1 - share) * rest, am.attention(q, k, v))
    True

    NaN or infinity in a hidden key or value, as in a cache that was never written, reaches no row that does not see it:
    with NumPy, and with torch on the CPU. On a GPU, in compiled programs and with JAX, where a framework's kernel
    multiplies it by 0 and gives NaN, call it under ``am.nan_safe()``.

    Under ``torch.compile`` the mask is a constant: another mask compiles again. Where masks change with every batch,
    pass ``am.export(mask, "torch.sdpa", frame)`` into the compiled function instead. A program of ``torch.export``,
    ``torch.jit.trace``, AOTInductor or ONNX holds the mask, for the lengths it was recorded with, and needs no attnmask;
    with ``engine="cpu"`` it needs ``import attnmask.run.engines.cpu.torch_operations`` where it runs.

    Forward-mode derivatives, and those of the second order by torch.func, are computed by the formula over all pairs.
    Second derivatives by ``backward`` need ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`` around the call.

    Args:
        q: queries (batch, heads, q_len, dim), of NumPy, torch or JAX.
        k: keys (batch, kv_heads, kv_len, dim); kv_heads divides heads, and query head i uses key head
            i // (heads // kv_heads).
        v: values (batch, kv_heads, kv_len, dim_v).
        mask: what each query may attend to, a mask or its notation; None for everything. A selection such as ``causal() & top_k(64)`` decides
            among what its mask shows, from q and k.
        frame: where the first query stands; only needed when q_len != kv_len and the mask depends on it.
        scale: the factor on the scores, 1 / sqrt(dim) by default.
        engine: the name of an engine, to refuse rather than take another one.
        return_lse: give the log-sum-exp too: the natural logarithm of the sum of ``exp(score)`` over the visible keys.

    Returns:
        (batch, heads, q_len, dim_v), an array of the same library. With ``return_lse``, that and the log-sum-exp
        (batch, heads, q_len) in at least 32 bits, -inf for a query that sees no key; it has gradients where the output does.

    Raises:
        InputError: shapes, libraries, the mask or the engine do not fit.
        FrameError: the mask cannot be seen in this frame.
    """
    with formula_where_kernels_end():
        module: Any
        if isinstance(mask, Selection):
            module, mask, frame = selecting(mask, frame, engine, q=q, k=k, v=v)
        else:
            module, mask, frame = settled(mask, frame, engine, return_lse, q=q, k=k, v=v)
        run = module.attention_lse if return_lse else module.attention
        factor = checked_scale(scale, q.shape[3])
        if WATCHERS:
            return watched(lambda: run(q, k, v, mask, frame, factor), mask, frame)
        return run(q, k, v, mask, frame, factor)


def attention_weights(
    q: Any,
    k: Any,
    mask: Mask | Selection | str | None = None,
    *,
    frame: Frame | int | None = None,
    scale: float | None = None,
) -> Any:
    """The weight of each key for each query: ``softmax(scale * q k^T, over the visible keys)``.

    Rows sum to 1, or are 0 where the query sees no key.

    >>> import attnmask as am
    >>> import numpy as np
    >>> am.attention_weights(np.zeros((1, 1, 3, 4)), np.zeros((1, 1, 3, 4)), am.window(1, 1) & (am.q < 2))[0, 0].round(2)
    array([[0.5 , 0.5 , 0.  ],
           [0.33, 0.33, 0.33],
           [0.  , 0.  , 0.  ]])

    Args:
        q: queries (batch, heads, q_len, dim).
        k: keys (batch, kv_heads, kv_len, dim).
        mask: as in ``attention``.
        frame: as in ``attention``.
        scale: as in ``attention``.

    Returns:
        (batch, heads, q_len, kv_len), an array of the same library.

    Raises:
        InputError: shapes, libraries or the mask do not fit.
        FrameError: the mask cannot be seen in this frame.
    """
    settle: Callable[..., Any] = selecting if isinstance(mask, Selection) else settled
    module, mask, frame = settle(mask, frame, None, q=q, k=k)
    return module.attention_weights(q, k, mask, frame, checked_scale(scale, q.shape[3]))
