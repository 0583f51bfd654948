"""What engines do, in words: for ``am.plan``."""

from __future__ import annotations

from collections import Counter

from attnmask.run.engines.torch.pieces import Piece
from attnmask.run.engines.torch.plan import Plan
from attnmask.run.request import Request, Work


def whole_work(request: Request, function: str) -> Work:
    """One call over all pairs, with a mask."""
    q_len, kv_len = request.frame.q_len, request.frame.kv_len
    return Work(1, request.copies * q_len * kv_len, f"1 call of {function} with a mask of {q_len:,} x {kv_len:,}")


def native_work(request: Request, function: str, causal: bool) -> Work:
    """One call that needs no mask."""
    q_len, kv_len = request.frame.q_len, request.frame.kv_len
    seen = min(q_len, kv_len)
    pairs = seen * (seen + 1) // 2 + (q_len - seen) * kv_len if causal else q_len * kv_len
    return Work(1, request.copies * pairs, f"1 call of {function}{', is_causal' if causal else ''} without a mask")


def planned_work(request: Request, found: Plan, function: str) -> Work:
    """The calls of a plan."""
    computed = found.computed * request.copies // (found.frame.batch * found.frame.heads)
    if found.edges is not None:
        return Work(request.copies, computed, f"{request.copies:,} sparse products over the visible pairs alone")
    calls = sum(request.batch if piece.tiles > 1 and piece.batch is None else 1 for piece in found.pieces)
    kinds = Counter(map(_kind, found.pieces))
    words = ", ".join(f"{count:,} of {kind}" for kind, count in kinds.items()) or "nothing is visible"
    return Work(calls, computed, f"{calls:,} call{'' if calls == 1 else 's'} of {function}: {words}")


def _kind(piece: Piece) -> str:
    if piece.causal:
        return "causal squares"
    if piece.chosen is not None:
        return "row blocks with their keys gathered"
    return "full rectangles" if piece.hidden is None else "row blocks with a small mask"
