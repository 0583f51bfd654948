"""FlexAttention compiled by torch, kept by the structure of the mask: other tables of the same shape need no compiler."""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch.nn.attention import flex_attention as torch_flex_attention
from torch.nn.attention.flex_attention import flex_attention

from attnmask.define.frame import Frame
from attnmask.define.language import Algebra, fold
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.exchange.frameworks import torch_flex
from attnmask.run.torch_tensors import autocast

Structure = tuple[Any, ...]

_REQUEST = getattr(torch_flex_attention, "AuxRequest", None)  # of torch 2.9; before, a flag
LSE: dict[str, Any] = {"return_lse": True} if _REQUEST is None else {"return_aux": _REQUEST(lse=True)}


def attend(q: Any, k: Any, v: Any, mask: Mask, frame: Frame, scale: float, with_lse: bool) -> tuple[Any, Any]:
    """The output (batch, heads, q_len, dim_v) and, if asked for, the log-sum-exp; compiled at the first call of its kind."""
    q, k, v = (autocast(array) for array in (q, k, v))
    kind = (fold(mask.node, _WithoutNumbers()), frame.q_start, q.shape, k.shape, v.shape, q.dtype, q.device)
    run = _compiled(scale, q.shape[1] != k.shape[1], with_lse, *kind)
    result = run(q, k, v, _block_mask(mask, frame, q.device))
    return (result[0], getattr(result[1], "lse", result[1])) if with_lse else (result, None)


@functools.lru_cache(maxsize=16)
def _block_mask(mask: Mask, frame: Frame, device: torch.device) -> Any:
    with torch.inference_mode(False):  # tables made in inference mode must still serve training
        return torch_flex.write(mask, frame, device=device)["block_mask"]


@functools.lru_cache(maxsize=64)
def _compiled(scale: float, grouped: bool, with_lse: bool, *kind: Any) -> Any:
    """A function of its own for each kind of call: torch gives up on one that is compiled more than 8 times."""

    asked = LSE if with_lse else {}

    def run(q: Any, k: Any, v: Any, block_mask: Any) -> Any:
        return flex_attention(q, k, v, block_mask=block_mask, scale=scale, enable_gqa=grouped, **asked)

    own = types.FunctionType(run.__code__.replace(), globals(), closure=run.__closure__)
    return torch.compile(own, dynamic=False, fullgraph=True)


class _WithoutNumbers(Algebra[Structure]):
    """What the compiled code of a mask depends on: everything but the numbers in its tables."""

    def const(self, value: int | bool) -> Structure:
        return ("const", value)

    def index(self, name: str) -> Structure:
        return ("index", name)

    def lookup(self, table: Table, at: tuple[Structure, ...]) -> Structure:
        return ("lookup", table.shape, table.kind, table[()] if not at else len(table.data), *at)

    def apply(self, op: str, args: tuple[Structure, ...]) -> Structure:
        return (op, *args)
