"""Tracing users' FlexAttention mask_mods, checked against torch's own evaluation of the same function."""

import functools

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import and_masks, create_mask, or_masks

import attnmask as am
from attnmask.errors import MaskError

DOCUMENTS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
BATCHED = torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 1, 1, 1, 1, 2, 2]])
LENGTHS = torch.tensor([5, 8])
FLAGS = torch.tensor([True, False, True, True, False, False, True, True])


def causal(b, h, q, k):
    return q >= k


def window(b, h, q, k):
    return (q - k).abs() <= 2


FUNCTIONS = {
    "causal": causal,
    "and_masks": and_masks(causal, window),
    "or_masks": or_masks(lambda b, h, q, k: k < 2, and_masks(causal, window)),
    "documents": lambda b, h, q, k: DOCUMENTS[q] == DOCUMENTS[k],
    "other documents": lambda b, h, q, k: DOCUMENTS[q] != DOCUMENTS[k],
    "batched": lambda b, h, q, k: (BATCHED[b, q] == BATCHED[b, k]) & (q >= k),
    "rows first": lambda b, h, q, k: BATCHED[b][q] == BATCHED[b][k],
    "lengths": lambda b, h, q, k: k < LENGTHS[b],
    "flags": lambda b, h, q, k: FLAGS[q] | FLAGS[k],
    "flag equality": lambda b, h, q, k: FLAGS[q] == FLAGS[k],
    "where": lambda b, h, q, k: torch.where(q < 4, k < 4, k >= 4),
    "where of numbers": lambda b, h, q, k: torch.where(q < 4, q, 4) >= k,
    "clamp": lambda b, h, q, k: (q - k).clamp(0, 3) == 1,
    "torch.clamp": lambda b, h, q, k: torch.clamp(q - k, min=0) < 2,
    "torch.abs": lambda b, h, q, k: torch.abs(q - k) < 2,
    "torch.minimum": lambda b, h, q, k: torch.minimum(q, k) < 2,
    "torch.maximum": lambda b, h, q, k: torch.maximum(q, k) < 5,
    "logical": lambda b, h, q, k: torch.logical_or(torch.logical_not(q < 3), torch.logical_and(k < 3, q >= k)),
    "xor": lambda b, h, q, k: (q < 4) ^ (k < 4),
    "arithmetic": lambda b, h, q, k: (q * 2 + 1) // 3 - k % 3 >= -(0 - k),
    "dilated": lambda b, h, q, k: ((q - k) % 2 == 0) & (q >= k),
    "chunks": lambda b, h, q, k: q // 3 == k // 3,
    "constant tensor left": lambda b, h, q, k: torch.tensor(3) <= k,
    "closure number": (lambda size: lambda b, h, q, k: q - k < size)(3),
    "inverted": lambda b, h, q, k: ~(q >= k),
    "not equal": lambda b, h, q, k: q != k,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_trace_equals_torchs_own_evaluation(name):
    function = FUNCTIONS[name]
    expected = create_mask(function, 2, 1, 8, 8, device="cpu").numpy()
    traced = am.trace(function)
    assert np.array_equal(np.broadcast_to(traced.dense(8), expected.shape), expected)
    assert am.parse(repr(traced)) == traced


def test_mask_mods_of_torch_and_transformers():
    from torch.nn.attention.flex_attention import noop_mask
    from transformers import masking_utils

    assert am.trace(noop_mask) == am.everything()
    sliding = masking_utils.sliding_window_overlay(4)
    both = am.trace(masking_utils.and_masks(masking_utils.causal_mask_function, sliding))
    assert np.array_equal(both.dense(8), am.window(3).dense(8))
    either = am.trace(masking_utils.or_masks(masking_utils.causal_mask_function, sliding))
    assert np.array_equal(either.dense(8), (am.causal() | am.window(3, None)).dense(8))


def test_a_traced_mask_is_the_mask():
    assert am.trace(causal) == am.causal()
    assert am.trace(lambda b, h, q, k: True) == am.everything()


def counts_down(b, h, q, k):
    steps = q
    while steps > 0:  # this line
        steps = steps - 1
    return steps == k


def ten_questions(b, h, q, k):
    return all((q + shift) % 3 == 0 or k != shift for shift in range(10))


def doubles(b, h, q, k):
    for _ in range(100):
        q = q + q
    return q >= k


def grows(b, h, q, k):
    for step in range(3000):
        q = q + step
    return q >= k


@pytest.mark.parametrize(
    ("function", "reason", "line"),
    [
        (counts_down, "asks more than 64 questions", "while steps > 0:  # this line"),
        (ten_questions, "more than 64 ways", "return all((q + shift) % 3 == 0"),
        (doubles, "more than 20000 parts", "q = q + q"),
        (grows, "maximum recursion depth", ""),
        (lambda b, h, q, k: k in range(q), "a Python list, range or int()", "k in range(q)"),
    ],
)
def test_refusals_name_the_line(function, reason, line):
    with pytest.raises(MaskError, match="a traced function consists of operators") as caught:
        am.trace(function)
    assert reason in caught.value.got
    assert line in caught.value.got


class Counting(torch.nn.Module):
    def forward(self, b, h, q, k):
        return k in range(q)  # in a module


@pytest.mark.parametrize("function", [Counting(), functools.partial(Counting()), Counting().forward])
def test_refusals_name_the_line_of_objects_too(function):
    with pytest.raises(MaskError, match=r"return k in range\(q\)  # in a module"):
        am.trace(function)


def test_a_table_that_is_refused_says_what_to_write():
    with pytest.raises(MaskError, match=r"Write array\.astype\(bool\) for a mask"):
        am.trace(lambda b, h, q, k: torch.tensor([0.1, 0.2])[q] < k)


def test_a_function_that_answers_anew_is_refused():
    calls = iter(range(10**6))
    with pytest.raises(MaskError, match="a trace says what the function itself says"):
        am.trace(lambda b, h, q, k: q >= k if next(calls) % 2 == 0 else q < k)


def test_nothing_of_the_users_is_changed():
    ids, scope = np.array([0, 0, 1, 1]), {"ids": np.array([0, 1, 1, 1])}
    held = [ids]
    function = eval("lambda held: lambda b, h, q, k, ids2=held: (held[0][q] == ids[k]) & (ids2[0][k] >= 0)", scope)(
        held
    )
    before = (function.__closure__[0].cell_contents, function.__defaults__, dict(function.__globals__))
    am.trace(function)
    assert (function.__closure__[0].cell_contents, function.__defaults__, dict(function.__globals__)) == before
    assert held[0] is ids
    assert type(ids) is np.ndarray
    assert type(scope["ids"]) is np.ndarray


def test_only_functions_are_traced():
    with pytest.raises(MaskError, match="trace takes a function"):
        am.trace(np.ones((2, 2)))
