"""Functions as people write them, by name: the mask that they are, or the words that they are refused with."""

import functools
from math import inf

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import attnmask as am
from attnmask.errors import MaskError

IDS = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 3])
NUMPY_IDS, JAX_IDS = IDS.numpy(), jnp.asarray(IDS.numpy())
BATCHED = torch.tensor([[0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 1, 1, 1, 2, 2, 2, 3]])
LENGTHS = torch.tensor([4, 7])
LENGTHS_LIST = [4, 7]
VALID = torch.tensor([[1, 1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1, 0, 0]])
NUMPY_VALID = VALID.numpy()
ADDED = torch.where(VALID.bool(), 0.0, -inf)  # a mask to be added to scores
WINDOWS = torch.tensor([1, 3])  # per head
POSITIONS = torch.arange(9).reshape(1, 9, 1).expand(2, 9, 1)
BYTES = torch.tensor([3, 200, 7, 0, 9, 255, 1, 4, 90], dtype=torch.uint8)
SIGNED_BYTES = torch.tensor([100, -100, 7, 0, 9, 127, 1, 4, 90], dtype=torch.int8)
LARGE = torch.tensor([2**30, -(2**30), 0, 1, 2, 3, 4, 5, 2**31 - 1], dtype=torch.int32)
FRAMES = (am.Frame(9), am.Frame(5, 9, q_start=3), am.Frame(8, 4, q_start=1), am.Frame(1, 9, align="end"))

q, k = am.q, am.k
CAUSAL, PADDING = am.causal(), k < am.lookup(LENGTHS, am.b)
NEAR = CAUSAL & (q - k < 4)
DOCUMENTS = am.same(am.lookup(IDS, q), am.lookup(IDS, k))
EARLY = k < 3


class Documents:
    def __init__(self, ids):
        self.ids = ids

    def __call__(self, b, h, q, k):
        return self.ids[q] == self.ids[k]

    def mask(self, b, h, q, k):
        return self(b, h, q, k)


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("ids", IDS)

    def forward(self, b, h, q, k):
        return self.ids[q] == self.ids[k]


def early_return(b, h, q, k):
    if k > q:
        return False
    return q - k < 4


def two_questions(b, h, q, k):
    if q >= k:
        return q - k < 4
    if q < k:  # not asked again: it is the opposite
        return False
    raise AssertionError("no position comes here")


def with_assertions(b, h, q, k):
    assert q >= 0 <= k
    if IDS[q] < 0:
        raise ValueError("no document")
    return IDS[q] == IDS[k]


def loop(b, h, q, k):
    visible = q >= k
    for start in (2, 5):
        if q == start:
            visible = visible & (k != start - 1)
    return visible


def helper(x):
    return x.clamp(min=0)


def radius(b, h, q, k):
    rows, columns = q // 3 - k // 3, q % 3 - k % 3
    return rows**2 + columns**2 <= 2


def chosen_length(b, h, q, k):
    return k < (LENGTHS[0] if b == 0 else LENGTHS[1])


EQUAL = {
    "causal": (lambda b, h, q, k: q >= k, CAUSAL),
    "and": (lambda b, h, q, k: q >= k and q - k < 4, NEAR),
    "or": (lambda b, h, q, k: q >= k or k < 3, CAUSAL | EARLY),
    "not": (lambda b, h, q, k: not q >= k, ~CAUSAL),
    "chained": (lambda b, h, q, k: 0 <= q - k < 4, NEAR),
    "ternary": (lambda b, h, q, k: q - k < 4 if q >= k else False, NEAR),
    "early return": (early_return, NEAR),
    "two questions": (two_questions, NEAR),
    "assertions that hold": (with_assertions, DOCUMENTS),
    "loop": (loop, CAUSAL & ~(am.same(q, 2) & am.same(k, 1)) & ~(am.same(q, 5) & am.same(k, 4))),
    "python's max": (lambda b, h, q, k: max(q, k) < 5, (q < 5) & (k < 5)),
    "python's all": (lambda b, h, q, k: all([q >= k, q - k < 4]), NEAR),
    "in a tuple": (lambda b, h, q, k: k in (0, 1, 2), EARLY),
    "if of b": (chosen_length, k < am.where(am.same(am.b, 0), 4, 7)),
    "divmod": (lambda b, h, q, k: divmod(q, 3)[0] == divmod(k, 3)[0], am.same(q // 3, k // 3)),
    "power": (lambda b, h, q, k: (q - k) ** 2 < 9, am.window(2, 2)),
    "torch.pow": (lambda b, h, q, k: torch.pow(q - k, 2) < 9, am.window(2, 2)),
    "radius": (radius, (q // 3 - k // 3) * (q // 3 - k // 3) + (q % 3 - k % 3) * (q % 3 - k % 3) <= 2),
    "shift right": (lambda b, h, q, k: q >> 2 == k >> 2, am.chunked(4)),
    "shift left": (lambda b, h, q, k: k << 1 <= q, k * 2 <= q),
    "last bits": (lambda b, h, q, k: (q & 3) == (k & 3), am.same(q % 4, k % 4)),
    "half": (lambda b, h, q, k: k < 2.5, EARLY),
    "quotient": (lambda b, h, q, k: (q - k) / 2 <= 1.5, q - k <= 3),
    "third": (lambda b, h, q, k: q / 3 <= 1, q <= 3),
    "times a half": (lambda b, h, q, k: q * 0.5 < k, q < k * 2),
    "floor": (lambda b, h, q, k: torch.floor(q / 4) == torch.floor(k / 4), am.chunked(4)),
    "long of a quotient": (lambda b, h, q, k: (q / 4).long() == (k / 4).long(), am.chunked(4)),
    "float": (lambda b, h, q, k: (q - k).float().abs() < 3, am.window(2, 2)),
    "div, floor": (lambda b, h, q, k: torch.div(q - k, 4, rounding_mode="floor") == 0, NEAR),
    "div, trunc": (lambda b, h, q, k: torch.div(q, 4, rounding_mode="trunc") == k // 4, am.chunked(4)),
    "floor_divide": (lambda b, h, q, k: torch.floor_divide(q, 4) == k // 4, am.chunked(4)),
    "where, float": (lambda b, h, q, k: torch.where(q >= k, 0.0, -inf) == 0, CAUSAL),
    "where, above": (lambda b, h, q, k: torch.where(q >= k, 0.0, -inf) > -1, CAUSAL),
    "where, isfinite": (lambda b, h, q, k: torch.where(q >= k, 0.0, -inf).isfinite(), CAUSAL),
    "where, not -inf": (lambda b, h, q, k: torch.where(q >= k, 0.0, -inf) != -inf, CAUSAL),
    "wheres, added": (
        lambda b, h, q, k: torch.where(q >= k, 0.0, -inf) + torch.where(q - k < 4, 0.0, -inf) == 0,
        NEAR,
    ),
    "added mask": (lambda b, h, q, k: ADDED[b, k] == 0, PADDING),
    "added mask, finite": (lambda b, h, q, k: torch.isfinite(ADDED[b][k]), PADDING),
    "methods": (lambda b, h, q, k: q.ge(k).logical_and((q - k).lt(4)), NEAR),
    "logical_xor": (lambda b, h, q, k: q.ge(k).logical_xor(k.lt(3)), (CAUSAL - EARLY) | (EARLY - CAUSAL)),
    "torch.ge": (lambda b, h, q, k: torch.ge(q, k), CAUSAL),
    "torch.bitwise_and": (lambda b, h, q, k: torch.bitwise_and(q >= k, q - k < 4), NEAR),
    "plus of truths": (lambda b, h, q, k: (q >= k) + (k < 3), CAUSAL | EARLY),
    "times of truths": (lambda b, h, q, k: (q >= k) * (q - k < 4), NEAR),
    "count": (lambda b, h, q, k: (q >= k).int() + (q - k < 4).int() == 2, NEAR),
    "isin": (lambda b, h, q, k: torch.isin(k, torch.tensor([0, 2])), am.same(k, 0) | am.same(k, 2)),
    "isin of many": (lambda b, h, q, k: torch.isin(k, torch.arange(0, 40, 2)), am.same(k % 2, 0)),
    "isin of ids": (
        lambda b, h, q, k: torch.isin(IDS[q], torch.tensor([1, 3])),
        am.same(am.lookup(IDS, q), 1) | am.same(am.lookup(IDS, q), 3),
    ),
    "documents": (lambda b, h, q, k: IDS[q] == IDS[k], DOCUMENTS),
    "documents, numpy": (lambda b, h, q, k: NUMPY_IDS[q] == NUMPY_IDS[k], DOCUMENTS),
    "documents, jax": (lambda b, h, q, k: JAX_IDS[q] == JAX_IDS[k], DOCUMENTS),
    "documents, np.take": (lambda b, h, q, k: np.take(NUMPY_IDS, q) == np.take(NUMPY_IDS, k), DOCUMENTS),
    "documents, jit": (jax.jit(lambda b, h, q, k: JAX_IDS[q] == JAX_IDS[k]), DOCUMENTS),
    "documents, object": (Documents(NUMPY_IDS), DOCUMENTS),
    "documents, method": (Documents(JAX_IDS).mask, DOCUMENTS),
    "documents, module": (Module(), DOCUMENTS),
    "documents, partial": (functools.partial(lambda ids, b, h, q, k: ids[q] == ids[k], NUMPY_IDS), DOCUMENTS),
    "documents, default": (lambda b, h, q, k, ids=JAX_IDS: ids[q] == ids[k], DOCUMENTS),
    "documents, in a list": (
        (lambda all_ids: lambda b, h, q, k: all_ids[0][q] == all_ids[0][k])([NUMPY_IDS]),
        DOCUMENTS,
    ),
    "jnp.where": (lambda b, h, q, k: jnp.where(q >= k, q - k < 4, False), NEAR),
    "jnp.logical_and": (lambda b, h, q, k: jnp.logical_and(q >= k, jnp.abs(q - k) < 4), NEAR),
    "jnp.minimum": (lambda b, h, q, k: jnp.minimum(q, k) < 3, (q < 3) | EARLY),
    "jnp.clip": (lambda b, h, q, k: jnp.clip(q - k, 0, 5) < 4, q - k < 4),
    "np.where": (lambda b, h, q, k: np.where(q >= k, q - k, 9) < 4, NEAR),
    "np.logical_or": (lambda b, h, q, k: np.logical_or(q >= k, np.less(k, 3)), CAUSAL | EARLY),
    "np.array inside": (lambda b, h, q, k: np.arange(9)[q] >= k, CAUSAL),
    "padding": (lambda b, h, q, k: k < LENGTHS[b], PADDING),
    "padding, bool()": (lambda b, h, q, k: VALID[b, k].bool(), PADDING),
    "padding, to(bool)": (lambda b, h, q, k: VALID[b][k].to(torch.bool), PADDING),
    "padding, row of numpy": (lambda b, h, q, k: NUMPY_VALID[b].reshape(-1)[k] > 0, PADDING),
    "length of a row": (lambda b, h, q, k: k < BATCHED[b].shape[0] - 6, EARLY),
    "padding, row to bool": (lambda b, h, q, k: VALID[b].bool()[k], PADDING),
    "added mask, row in double": (lambda b, h, q, k: ADDED[b].double()[k] > -1, PADDING),
    "padding, inverted": (lambda b, h, q, k: ~(VALID == 0)[b, k], PADDING),
    "key first": (lambda b, h, q, k: VALID[:, k][b] != 0, PADDING),
    "squeeze": (lambda b, h, q, k: POSITIONS[b].squeeze(-1)[q] >= POSITIONS[b].squeeze(-1)[k], CAUSAL),
    "flatten": (lambda b, h, q, k: POSITIONS[b].flatten()[q] >= POSITIONS[b].view(-1)[k], CAUSAL),
    "reshape": (lambda b, h, q, k: POSITIONS[b].reshape(3, 3)[q // 3, q % 3] >= k, CAUSAL),
    "windows per head": (
        lambda b, h, q, k: (q >= k) & (q - k <= WINDOWS[h]),
        CAUSAL & (q - k <= am.lookup(WINDOWS, am.h)),
    ),
    "bytes, long": (
        lambda b, h, q, k: BYTES[q].long() - BYTES[k].long() < 5,
        am.lookup(BYTES, q) - am.lookup(BYTES, k) < 5,
    ),
    "bytes, that fit": (
        lambda b, h, q, k: BYTES[q] // 2 + 100 < BYTES[k],
        am.lookup(BYTES, q) // 2 + 100 < am.lookup(BYTES, k),
    ),
    "ones_like": (lambda b, h, q, k: torch.ones_like(q, dtype=torch.bool), am.everything()),
    "zeros_like": (lambda b, h, q, k: torch.zeros_like(q >= k), am.nothing()),
    "helper": (lambda b, h, q, k: helper(q - k) < 4, q - k < 4),
    "constant tensor": (lambda b, h, q, k: torch.tensor(3) > k, EARLY),
    "compiled": (torch.compile(lambda b, h, q, k: q >= k, backend="eager"), CAUSAL),
}


@pytest.mark.parametrize("name", EQUAL)
def test_functions_are_the_masks_that_they_say(name):
    function, mask = EQUAL[name]
    traced = am.trace(function)
    for frame in FRAMES:
        shape = (2, 2, frame.q_len, frame.kv_len)
        ours, theirs = (np.broadcast_to(each.dense(frame), shape) for each in (mask & _batched(), traced & _batched()))
        assert np.array_equal(ours, theirs)
    assert am.parse(repr(traced)) == traced


def _batched():
    """True everywhere, of two sequences and two heads: gives b and h of any mask their range."""
    return (am.lookup([1, 1], am.b) <= 1) & (am.lookup([1, 1], am.h) <= 1)


REFUSED = {
    "bytes subtracted": (lambda b, h, q, k: BYTES[q] - BYTES[k] < 5, "uint8 holds 0 to 255 and wraps around"),
    "bytes negated": (lambda b, h, q, k: -BYTES[q] < k, "uint8 holds 0 to 255"),
    "bytes and a large number": (lambda b, h, q, k: BYTES[q] == 300, "numbers from 300 to 300 may occur"),
    "bytes and a number of numpy": (lambda b, h, q, k: BYTES[q] < np.int64(300), "uint8 holds 0 to 255"),
    "signed bytes added": (lambda b, h, q, k: SIGNED_BYTES[q] + SIGNED_BYTES[k] < 5, "int8 holds -128 to 127"),
    "numpy's bytes": (lambda b, h, q, k: BYTES.numpy()[q] < 3, "are valid indices"),
    "int32 added": (lambda b, h, q, k: LARGE[q] + LARGE[k] > 0, "int32 holds -2147483648"),
    "int32 times": (lambda b, h, q, k: LARGE[q] * 4 > k, "int32 holds -2147483648"),
    "positions as bytes": (lambda b, h, q, k: q.to(torch.int8) >= k, "int8 holds -128 to 127"),
    "jax's int64": (lambda b, h, q, k: JAX_IDS[q].astype(jnp.int64) * 2**30 > k, "int32 holds"),
    "sum of truths, compared": (lambda b, h, q, k: (q >= k) + (k < 3) == 2, "truth values are added"),
    "difference of truths": (lambda b, h, q, k: (q >= k) - (k < 3), "write x & ~y"),
    "isinstance": (lambda b, h, q, k: isinstance(q, torch.Tensor), "True from torch at (b, h, q, k) = (0, 0, 0, 0)"),
    "isinstance, numpy": (
        lambda b, h, q, k: NUMPY_IDS[q] == NUMPY_IDS[k] if isinstance(q, np.ndarray) else q >= k,
        "stops at",
    ),
    "hasattr": (lambda b, h, q, k: q >= k if hasattr(q, "shape") else q < k, "where the trace says"),
    "type": (lambda b, h, q, k: q < k if type(q).__name__ == "Traced" else q >= k, "where the trace says"),
    "dim": (lambda b, h, q, k: q.dim() == 0, "no attribute 'dim'"),
    "dtype": (lambda b, h, q, k: q.dtype == torch.int64, "no attribute 'dtype'"),
    "a number asked for, and caught": (lambda b, h, q, k: number_of(q) >= k, "where the trace says"),
    "list of lengths": (lambda b, h, q, k: k < LENGTHS_LIST[b], "look it up as tensor[b]"),
    "int of a length": (lambda b, h, q, k: k < int(LENGTHS[b]), "one fixed batch"),
    "item of a length": (lambda b, h, q, k: k < LENGTHS[b].item(), "one fixed batch"),
    "range": (lambda b, h, q, k: k in range(q), "needs that of one fixed batch"),
    "set": (lambda b, h, q, k: q in {0, 1}, "no key of a set"),
    "stack": (lambda b, h, q, k: torch.stack([q >= k, k < 3]).all(), "'stack' is not in the language"),
    "any": (lambda b, h, q, k: torch.any(q >= k), "'any' is not in the language"),
    "row": (lambda b, h, q, k: BATCHED[b] == k, "a row of shape (9,) is used as a whole"),
    "row to bytes": (lambda b, h, q, k: (BATCHED * 200)[b].to(torch.uint8)[k] > 3, "uint8 holds 0 to 255"),
    "whole": (lambda b, h, q, k: q == IDS, "is used as a whole"),
    "trunc of negatives": (lambda b, h, q, k: torch.div(q - k, 4, rounding_mode="trunc") == 0, "rounds towards 0"),
    "fmod of negatives": (lambda b, h, q, k: torch.fmod(q - k, 4) == 0, "rounds towards 0"),
    "int of a negative quotient": (lambda b, h, q, k: ((q - k) / 4).int() == 0, "rounds towards 0"),
    "rounded": (lambda b, h, q, k: q / 3 == k / 3, "floats are rounded here"),
    "times a tenth": (lambda b, h, q, k: q * 0.1 < k, "floats are rounded here"),
    "bits": (lambda b, h, q, k: (q & 5) == 0, "x & (2**n - 1)"),
    "or of numbers": (lambda b, h, q, k: (q | 1) == k, "| of numbers"),
    "xor of numbers": (lambda b, h, q, k: (q ^ 1) == k, "^ of numbers"),
    "power of a position": (lambda b, h, q, k: 2**h >= k, "a power has a number from 1 to 4"),
    "shift by a position": (lambda b, h, q, k: q >> k == 0, "a shift is by a number"),
    "float mask": (lambda b, h, q, k: torch.where(q >= k, 0.0, -inf), "not a float: compare it"),
    "number": (lambda b, h, q, k: q - k, "a mask is a truth value"),
    "nothing": (lambda b, h, q, k: None, "no whole number or truth value"),
    "tenths": (lambda b, h, q, k: torch.tensor([0.1, 1.5])[q] < k, "a table holds integers or booleans"),
    "beyond 63 bits": (lambda b, h, q, k: np.array([1, 2**63 + 5], np.uint64)[q] > k, "64 bits"),
    "uint64 and a position": (
        lambda b, h, q, k: np.array([1, 5], np.uint64)[q] - k > 0,
        "no whole-number type in common",
    ),
    "half precision": (lambda b, h, q, k: q.to(torch.bfloat16) < k, "a cast to bfloat16"),
    "sine": (lambda b, h, q, k: torch.sin(q) > 0, "torch function 'sin'"),
    "numpy's sine": (lambda b, h, q, k: np.sin(q) > 0, "numpy function 'sin'"),
    "jax's sine": (lambda b, h, q, k: jnp.sin(q) > 0, "jax function 'sin'"),
    "gather": (lambda b, h, q, k: torch.gather(IDS, 0, q) == 1, "write tensor[q]"),
    "a mask as an index": (lambda b, h, q, k: IDS[q >= k] == 1, "a look-up is made by whole numbers"),
    "divided by a position": (lambda b, h, q, k: q // k == 1, "a divisor is a positive number"),
    "divided by a position, exactly": (lambda b, h, q, k: q / k < 2, "multiply both sides"),
    "outside of its table": (lambda b, h, q, k: IDS[q + 100] == 1, "no such position was found"),
    "what torch refuses": (lambda b, h, q, k: torch.logical_and(q >= k, True), "must be Tensor"),
    "another number of positions": (lambda q, k: q >= k, "positional arguments"),
}


def number_of(position):
    try:
        return int(position)
    except TypeError:
        return 0


@pytest.mark.parametrize("name", REFUSED)
def test_functions_are_refused_in_words(name):
    function, words = REFUSED[name]
    with pytest.raises(MaskError) as caught:
        am.trace(function)
    assert words in caught.value.got


def test_a_refusal_has_three_parts():
    with pytest.raises(MaskError) as caught:
        am.trace(REFUSED["isinstance"][0])
    assert str(caught.value) == (
        "a trace says what the function itself says; got True from torch at (b, h, q, k) = (0, 0, 0, 0), where the "
        "trace says False. Write | for 'or' of truth values, cast small dtypes with .long() or .astype(int) before "
        "arithmetic, and do not ask positions for their type or shape."
    )


def test_enough_functions():
    assert len(EQUAL) >= 60
    assert len(REFUSED) >= 40
