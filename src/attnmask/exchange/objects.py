"""Mask objects of frameworks as the arrays that they stand for: known by the name of their class, never imported.

What stands for no array of its own is refused by name: reading the memory of such an object would be reading noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.errors import FrameworkError

PLAIN = ("torch.Tensor", "torch._C.TensorBase", "torch.nn.parameter.Parameter")  # classes whose memory is what they say


class Known(NamedTuple):
    """A class of some framework, found among the bases of an object, and what to do with it."""

    module: str  # a part of its name, since libraries move their files
    name: str
    plain: Callable[[Any], Any]


def plain(value: Any) -> Any:
    """The array of numbers that an object of a framework stands for; anything else is given back.

    A bias object becomes what it adds to the scores: 0 and minus infinity.

    >>> plain([[True]])
    [[True]]

    Raises:
        FrameworkError: the object is a mask and no array, such as a ``BlockMask`` or a nested tensor.
    """
    if type(value) is np.ndarray:
        return value
    for base in type(value).__mro__:
        for known in KNOWN:
            if base.__name__ == known.name and known.module in base.__module__:
                return known.plain(value)
    return value


def bias_of(visible: NDArray[np.bool_]) -> NDArray[np.float32]:
    """0 where visible, minus infinity elsewhere: read alike by those who take True for visible and for hidden."""
    return np.where(visible, np.float32(0), np.float32(-np.inf))


def _refuse(value: Any, why: str, fix: str) -> Any:
    raise FrameworkError(f"a mask is an array, and {why}", type(value).__name__, fix)


def _tensor(value: Any) -> Any:
    """A torch tensor, dense; a subclass that answers for itself may hold something else than it shows."""
    if value.is_nested:
        fix = "Write am.documents(lengths=[...]), the lengths of its sequences"
        _refuse(value, "a nested tensor holds sequences of several lengths", fix)
    if any(_answers_for_itself(base) for base in type(value).__mro__):
        fix = "Give the tensor that it stands for, or value.as_subclass(torch.Tensor) if its memory is the mask"
        _refuse(value, "this tensor subclass answers for itself: its memory need not be the mask", fix)
    if value.device.type == "meta":
        _refuse(value, "a tensor on the meta device has a shape and no values", "Build it on a device: device='cpu'")
    return value if str(value.layout) == "torch.strided" else value.to_dense()


def _answers_for_itself(base: type) -> bool:
    own = {"__torch_dispatch__", "__torch_function__"} & set(vars(base))
    return bool(own) and f"{base.__module__}.{base.__name__}" not in PLAIN


def _causal_bias(value: Any) -> Any:
    """torch's causal_upper_left and causal_lower_right."""
    q_len, kv_len = value.seq_len_q, value.seq_len_kv
    shift = {"UPPER_LEFT": 0, "LOWER_RIGHT": kv_len - q_len}[value.variant.name]
    return bias_of(np.tri(q_len, kv_len, shift, dtype=bool))


def _xformers(value: Any) -> Any:
    """A bias of xFormers, materialised at the lengths that it holds."""
    if hasattr(value, "q_seqinfo"):
        tables = getattr(value, "block_tables", None)  # of pages, which it sorts out itself
        keys = value.k_seqinfo.seqstart_py[-1] if tables is None else tables.numel() * value.page_size
        return value.materialize((value.q_seqinfo.seqstart_py[-1], keys)).numpy()
    if hasattr(value, "_bias"):
        return value.materialize(tuple(value._bias.shape)).numpy()
    return _refuse(value, "this bias holds no lengths", XFORMERS.get(type(value).__name__, MATERIALISE))


MATERIALISE = "Give value.materialize((q_len, kv_len))"
FROM_THE_END = f"with Frame(q_len, kv_len, align='end'). {MATERIALISE} as an array"
XFORMERS = {
    "LowerTriangularMask": f"Write am.causal(), with the first query at q_start=0. {MATERIALISE} as an array",
    "LowerTriangularFromBottomRightMask": f"Write am.causal() {FROM_THE_END}",
    "LowerTriangularFromBottomRightLocalAttentionMask": f"Write am.window(window_size - 1) {FROM_THE_END}",
    "LocalAttentionFromBottomRightMask": f"Write am.window(window_left, window_right) {FROM_THE_END}",
}


def _block_mask(value: Any) -> Any:
    fix = "Write am.read(block_mask, 'torch.flex'), and .dense(frame) for its array"
    return _refuse(value, "a BlockMask is a table of blocks and a function", fix)


def _function(value: Any) -> Any:
    return _refuse(
        value, "this is a function of positions", "Write am.trace(function), and .dense(frame) for its array"
    )


def _masked_array(value: Any) -> Any:
    return _refuse(value, "a masked array hides some of its own entries", "Fill them first: array.filled(False)")


def _mask(value: Any) -> Any:
    return _refuse(value, "a Mask has one only in a frame", "Write mask.dense(frame)")


def _dense(value: Any) -> Any:
    return value.toarray() if hasattr(value, "toarray") else value.todense()


def _splash(value: Any) -> Any:
    """A mask of JAX's Splash attention, True = visible."""
    return bias_of(np.asarray(value[(slice(None),) * len(value.shape)], bool))


KNOWN = (
    Known("torch.nn.attention.bias", "CausalBias", _causal_bias),
    Known("flex_attention", "BlockMask", _block_mask),
    Known("attn_bias", "AttentionBias", _xformers),
    Known("splash_attention_mask", "Mask", _splash),
    Known("splash_attention_mask", "MultiHeadMask", _splash),
    Known("jax.experimental.sparse", "JAXSparse", _dense),
    Known("scipy.sparse", "sparray", _dense),
    Known("scipy.sparse", "spmatrix", _dense),
    Known("numpy.ma", "MaskedArray", _masked_array),
    Known("attnmask.define.mask", "Mask", _mask),
    Known("builtins", "function", _function),
    Known("torch", "Tensor", _tensor),
)
