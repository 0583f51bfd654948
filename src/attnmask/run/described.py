"""What engines do, in words: for ``am.plan``."""

from __future__ import annotations

from attnmask.run.request import Request, Work


def whole_work(request: Request, function: str) -> Work:
    """One call over all pairs, with a mask."""
    q_len, kv_len = request.frame.q_len, request.frame.kv_len
    return Work(1, request.pairs, f"1 call of {function} with a mask of {q_len:,} x {kv_len:,}")


def native_work(request: Request, function: str, causal: bool) -> Work:
    """One call that needs no mask."""
    q_len, kv_len = request.frame.q_len, request.frame.kv_len
    seen = min(q_len, kv_len)
    pairs = seen * (seen + 1) // 2 + (q_len - seen) * kv_len if causal else q_len * kv_len
    return Work(1, request.copies * pairs, f"1 call of {function}{', is_causal' if causal else ''} without a mask")
