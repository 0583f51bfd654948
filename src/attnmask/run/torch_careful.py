"""What a row does not see does not reach it, for torch: NaN or infinity in hidden keys and values, forward and backward.

Kernels multiply hidden values by a weight of 0, and 0 times NaN is NaN. Where a result is not finite, the call is made
again with zeros in place of what is not finite, and the rows that see some of it get what they must.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from attnmask.lower.arrays import faked
from attnmask.lower.compiled import compiling
from attnmask.run.careful import always
from attnmask.run.torch_forked import one_thread_after_fork

COLUMNS = 16  # numbers per value, at least, that every kernel takes

Attend = Callable[[Any, Any, Any], Any]


def careful(call: Attend, q: Any, k: Any, v: Any, plain: Attend | None = None) -> Any:
    """The output of ``call(q, k, v)``, or what it gives beside it; rows get nothing of what they do not see.

    Args:
        call: attention under a mask.
        q: queries.
        k: keys.
        v: values.
        plain: the same without dropout, where ``call`` has it.
    """
    one_thread_after_fork()
    if always():
        return _without_looking(call, plain or call, q, k, v)
    result = call(q, k, v)
    if not may_look(q):
        return result
    wanted = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    output = result[0] if isinstance(result, tuple) else result
    if finite(output, q, k, v) if wanted else finite(output):  # gradients may be NaN where the output is not
        return result
    seen = [array.isfinite() for array in (q, k, v)]
    return result if all(part.all() for part in seen) else _again(call, plain or call, (q, k, v), seen)


def parted(q: Any, k: Any) -> tuple[Any, Any, Any]:
    """Queries and keys with zeros for what is not finite, and where that makes scores NaN; None where nothing does."""
    one_thread_after_fork()
    if not doubtful(q, k):
        return q, k, None
    lost_q, lost_k = (~array.isfinite().all(-1, keepdim=True) for array in (q, k))
    of_keys = lost_k.repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(2, 3)
    return torch.where(q.isfinite(), q, 0.0), torch.where(k.isfinite(), k, 0.0), lost_q | of_keys


def doubtful(*arrays: Any) -> bool:
    """Whether something is not finite, or must be treated so."""
    return always() or (may_look(arrays[0]) and not finite(*arrays))


def may_look(array: Any) -> bool:
    """Whether numbers can be looked at, without waiting for a GPU: nobody records or transforms the operations."""
    return not (
        array.device.type != "cpu" or compiling() or torch._C._are_functorch_transforms_active() or faked(array)
    )


def finite(*arrays: Any) -> bool:
    """Whether sums are finite, as they are where all numbers are, but for very large ones."""
    return all(
        math.isfinite(array.sum(dtype=torch.float32 if array.dtype == torch.float16 else None).item())
        for array in arrays
    )


def _again(call: Attend, plain: Attend, arrays: tuple[Any, Any, Any], finite: list[Any]) -> Any:
    """With zeros for what is not finite. Rows that see some of it give NaN to the gradients of all that they see."""
    given = [array.view_as(array) for array in arrays]  # whose gradients are told to nobody else
    q, k, v = (torch.where(part, array, 0.0) for part, array in zip(finite, given, strict=True))
    with torch.no_grad():
        of_scores = _of_scores(plain, q, k, finite[0], ~finite[1].all(-1, keepdim=True))
        beside = torch.where(of_scores, math.nan, torch.zeros_like(v[:1, :1, :1]))
        if not finite[2].all():
            for sign in (1.0, -1.0):  # both infinities are NaN
                code = arrays[2].isnan() | (arrays[2] == sign * math.inf)
                beside = beside + torch.where(_sees(plain, q, k, code), sign * math.inf, 0.0).to(v.dtype)
        lost = ~beside.isfinite().all(-1, keepdim=True)
    seen = _seen_by(plain, q, k, lost) if k.requires_grad or v.requires_grad else lost
    for array, places in zip(given, (lost, seen, seen), strict=True):
        if array.requires_grad:
            array.register_hook(lambda grad, places=places: torch.where(places, math.nan, grad))
    output, *others = _several(call(q, k, v))
    output = torch.where(lost, output.detach() + beside, output)
    others = [torch.where(of_scores.squeeze(-1), math.nan, other) for other in others]
    return (output, *others) if others else output


def _without_looking(call: Attend, plain: Attend, q: Any, k: Any, v: Any) -> Any:
    """The same without a branch, for the compiler and the GPU; rows that see something not finite are NaN."""
    finite = [array.isfinite() for array in (q, k, v)]
    q, k, v = (torch.where(part, array, 0.0) for part, array in zip(finite, (q, k, v), strict=True))
    lost = _of_scores(plain, q, k, finite[0], ~(finite[1].all(-1, keepdim=True) & finite[2].all(-1, keepdim=True)))
    output, *others = _several(call(q, k, v))
    output = torch.where(lost, math.nan, output)
    others = [torch.where(lost.squeeze(-1), math.nan, other) for other in others]
    return (output, *others) if others else output


def _several(result: Any) -> tuple[Any, ...]:
    return result if isinstance(result, tuple) else (result,)


def _of_scores(plain: Attend, q: Any, k: Any, finite: Any, lost: Any) -> Any:
    """The rows (batch, heads, q_len, 1) that see a lost key (batch, kv_heads, kv_len, 1), or any and are not finite."""
    half = (-1, -1, -1, COLUMNS // 2)
    found = _sees(plain, q, k, torch.cat([lost.expand(half), torch.ones_like(lost).expand(half)], -1))
    return found[..., :1] | (found[..., -1:] & ~finite.all(-1, keepdim=True))


def _sees(plain: Attend, q: Any, k: Any, code: Any) -> Any:
    """For each row and column whether some key that it sees has True there: the mean over all, of equal scores, is not 0."""
    return plain(*_equal(q, k, code.shape[3]), code.to(q.dtype)) > 0


def _seen_by(plain: Attend, q: Any, k: Any, lost: Any) -> Any:
    """The keys (batch, kv_heads, kv_len, 1) that some of the rows see: those which have a gradient of that mean."""
    with torch.enable_grad():
        value = torch.zeros(*k.shape[:3], COLUMNS, dtype=q.dtype, device=q.device, requires_grad=True)
        output = plain(*_equal(q, k, COLUMNS), value)
    return torch.autograd.grad(output, value, lost.to(output.dtype).expand(output.shape))[0][..., :1] != 0


def _equal(q: Any, k: Any, dim: int) -> tuple[Any, Any]:
    """Queries and keys whose scores are all 0."""
    return tuple(torch.zeros(*array.shape[:3], dim, dtype=q.dtype, device=q.device) for array in (q, k))
