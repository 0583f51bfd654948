"""How parts are joined and turned round, in the words and the order that are usual."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import and_, or_
from typing import Any

import numpy as np

from attnmask.define.language import Apply, Named, Node
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.padding import padding
from attnmask.define.masks.prefix import prefix
from attnmask.define.masks.sinks import sinks
from attnmask.define.tables import Table
from attnmask.exchange.recognition.length import length
from attnmask.lower.arrays import numpy_of

ORDER = ("sinks", "prefix", "causal", "dilated", "window", "chunked", "documents", "padding")
OPPOSITE = {"&": "|", "|": "&"}


def joined(op: str, masks: Iterable[Mask]) -> Mask:
    """``masks[0] op masks[1] op ...`` in the usual order, a first part of the keys called as it is usual there.

    >>> import attnmask as am
    >>> joined("|", [am.causal(), am.padding(3)]), joined("|", [am.window(2), am.padding(3)])
    (prefix(3) | causal(), sinks(3) | window(2))
    >>> joined("&", [am.sinks(3), am.causal()])
    causal() & padding(3)
    """
    parts = list(masks)
    op = op if len(parts) > 1 else "&"
    beside_causal = causal() in parts
    named = [_called(op, mask, beside_causal) for mask in parts]
    return reduce(and_ if op == "&" else or_, sorted(named, key=_place))


def negated(mask: Mask, kv_len: int) -> Mask:
    """``~mask`` among ``kv_len`` keys, with the ``~`` where it makes the text shortest; padding changes its side.

    >>> import attnmask as am
    >>> negated(~am.causal() | ~am.chunked(2), 8), negated(am.padding(3), 8)
    (causal() & chunked(2), padding(5, side='left', kv_len=8))
    """
    node = mask.node
    lengths = first_keys(node)
    if lengths is not None and lengths != kv_len - 1:  # a single last key has no need of padding
        return padding(_rest(kv_len, lengths), side="left", kv_len=kv_len)
    if isinstance(node, Named) and dict(node.args).get("side") == "left":
        return padding(_rest(kv_len, dict(node.args)[None]))
    if not isinstance(node, Apply) or node.op not in OPPOSITE:
        return ~mask
    inside = joined(OPPOSITE[node.op], [negated(Mask(part), kv_len) for part in node.args])
    return min(inside, ~mask, key=length)


def _rest(kv_len: int, lengths: Any) -> Any:
    return (kv_len - (numpy_of(lengths) if isinstance(lengths, Table) else np.int64(lengths))).tolist()


def first_keys(node: Node) -> Any:
    """The lengths, if this is one of the three names of ``k < lengths``."""
    match node:
        case Named("padding" | "prefix" | "sinks", ((None, lengths),)):
            return lengths
    return None


def _called(op: str, mask: Mask, beside_causal: bool) -> Mask:
    lengths = first_keys(mask.node)
    if lengths is None:
        return mask
    if op == "&":
        return padding(lengths)
    return prefix(lengths) if beside_causal or isinstance(lengths, Table) else sinks(lengths)


def _place(mask: Mask) -> int:
    name = mask.node.name if isinstance(mask.node, Named) else ""
    return ORDER.index(name) if name in ORDER else len(ORDER) + isinstance(mask.node, Apply)
