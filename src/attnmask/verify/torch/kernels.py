"""What torch's attention kernels do with their arguments: the cells that a call makes visible.

The convention is that of the kernels: a boolean or additive bias, True = visible; ``is_causal`` starts at the top left
(docs/conventions.md measures it). ``_native_multi_head_attention`` is the exception: True = hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attnmask.exchange.diagnosis.values import fills_among
from attnmask.run.engines.cpu import torch_operations

Bools = NDArray[np.bool_]

ROWS = 64  # among whose scores fills are told from the others
GAP = 1000.0  # a score this far below the largest of its row has weight exactly 0 in every floating-point format


def arguments_of(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an operator by the names of its schema, defaults included."""
    schema = function._schema.arguments
    named = {argument.name: argument.default_value for argument in schema if argument.has_default_value()}
    return {**named, **dict(zip((argument.name for argument in schema), args, strict=False)), **kwargs}


def visible_in_scores(scores: torch.Tensor) -> torch.Tensor:
    """Where softmax over the last axis gives a share: not minus infinity, nor a fill far below the row's largest.

    A bias that falls off with the distance gets as far below in the end, and hides nothing. In a row that has a NaN, all
    weights are NaN: what is not minus infinity counts as visible there.
    """
    largest = scores.amax(-1, keepdim=True)
    if bool(largest.isnan().any()):
        return torch.where(largest.isnan(), scores != -torch.inf, visible_in_scores(scores.nan_to_num(nan=0.0)))
    near = scores > largest - GAP
    far = (near != (scores > -torch.inf)).any(-1)
    if not bool(far.any()):
        return near
    places = far.nonzero()
    rows = scores[tuple(places[:: max(1, len(places) // ROWS)].T)]
    return near | (scores > _highest_fill(rows))


def _highest_fill(rows: torch.Tensor) -> float:
    """The largest number that is a fill, told by the gap above it."""
    scores = np.sort(rows[rows > -torch.inf].double().cpu().numpy())
    fills = fills_among(scores)
    return float(scores[fills - 1] / 2 + scores[fills] / 2) if fills else -np.inf


def uniform_rows(scores: torch.Tensor) -> torch.Tensor:
    """Rows of which every score is a finite fill: softmax spreads them over everything."""
    largest = scores.amax(-1)
    return (largest < -GAP) & (largest > -torch.inf)


def fused(arguments: dict[str, Any]) -> torch.Tensor:
    """Visible cells (batch, heads, q_len, kv_len) of a fused scaled-dot-product kernel."""
    query, key = arguments["query"], arguments["key"]
    shape = (*query.shape[:-1], key.shape[-2])
    visible = torch.ones(shape[-2:], dtype=torch.bool, device=query.device)
    if arguments.get("is_causal"):
        visible = visible.tril()
    bias = arguments.get("attn_mask")
    bias = arguments.get("attn_bias") if bias is None else bias
    if bias is not None:
        visible = visible & (bias if bias.dtype == torch.bool else visible_in_scores(bias))
    return visible.expand(shape)


def rows(arguments: dict[str, Any]) -> torch.Tensor:
    """Visible cells of attnmask's own kernel."""
    q, k, v = (arguments[name] for name in "qkv")
    found = torch_operations.lists_told(arguments["blocks"], q, k, v)
    return torch.from_numpy(found.dense(q.shape[2], k.shape[2]))


def native(arguments: dict[str, Any]) -> torch.Tensor:
    """Visible cells of the fast paths of MultiheadAttention and TransformerEncoderLayer; mask: True = hidden."""
    source = arguments["query"] if "query" in arguments else arguments["src"]
    if source.is_nested:  # padding was cut away before: each sequence sees itself, up to its own length
        lengths = source._nested_tensor_size()[:, 0]
        size = int(lengths.max())
        return (torch.arange(size) < lengths[:, None])[:, None, None, :].expand(-1, 1, size, size)
    batch, length = source.shape[:2]
    keys = arguments["key"].shape[1] if "key" in arguments else length
    mask = arguments.get("mask")
    if mask is None:
        return torch.ones(batch, 1, length, keys, dtype=torch.bool)
    if mask.dtype != torch.bool:
        mask = ~visible_in_scores(mask)
    padding = arguments.get("mask_type") == 1 or (mask.dim() == 2 and mask.shape != (length, keys))
    view = mask[:, None, None, :] if padding else mask.reshape((1,) * (4 - mask.dim()) + tuple(mask.shape))
    return ~view.expand(batch, -1, length, keys)


def collapsed(visible: torch.Tensor) -> Bools:
    """As NumPy (batch, heads, q_len, kv_len), with size 1 where nothing varies along batch or heads."""
    array: Bools = visible.detach().cpu().numpy()
    for axis in (0, 1):
        first = array[:1] if axis == 0 else array[:, :1]
        if array.strides[axis] == 0 or (array == first).all():
            array = first
    return array.copy()


def four_axes(visible: torch.Tensor, heads: int | None) -> torch.Tensor:
    """Cells of any leading shape as (batch, heads, q_len, kv_len); ``heads`` splits a merged batch x heads axis."""
    q_len, kv_len = visible.shape[-2:]
    outer = visible.shape[:-2]
    if len(outer) == 1 and heads and outer[0] % heads == 0:
        return visible.reshape(outer[0] // heads, heads, q_len, kv_len)
    if len(outer) <= 1:
        return visible.reshape(*outer, *(1,) * (2 - len(outer)), q_len, kv_len)
    return visible.reshape(outer[0], -1, q_len, kv_len)
