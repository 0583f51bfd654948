"""The mask functions of transformers.masking_utils as attnmask expressions, alone and through its entry points."""

import numpy as np
import pytest
import torch
import transformers.masking_utils as hf
from transformers import LlamaConfig

import attnmask as am

CONFIG = LlamaConfig(attn_implementation="sdpa", sliding_window=3, attention_chunk_size=3)
LEFT_PADDING = [0, 2]
BLOCKS = [[-1, 0, 0, 0, -1, 1, 1, -1], [2, 2, -1, -1, 2, 2, -1, -1]]
VALID = [[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]]
POSITIONS = [[0, 1, 2, 0, 1, 2, 3, 4], [0, 1, 0, 0, 1, 2, 0, 1]]
IDS = [[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 2, 2, 2, 3, 3]]
LEFT = [-length for length in LEFT_PADDING]

# name -> (their function, our expression); batch 2, 8 positions
CASES = {
    "causal": (hf.causal_mask_function, am.causal()),
    "bidirectional": (hf.bidirectional_mask_function, am.everything()),
    "sliding causal": (hf.sliding_window_causal_mask_function(3), am.window(2)),
    "sliding bidirectional": (hf.sliding_window_bidirectional_mask_function(3), am.window(3, 3)),
    "chunked": (
        hf.chunked_causal_mask_function(3, torch.tensor(LEFT_PADDING)),
        am.causal() & am.chunked(3).shift(q=LEFT, k=LEFT),
    ),
    "blockwise": (hf.blockwise_overlay(torch.tensor(BLOCKS)), am.images(BLOCKS)),
    "causal or blockwise": (
        hf.or_masks(hf.causal_mask_function, hf.blockwise_overlay(torch.tensor(BLOCKS))),
        am.causal() | am.images(BLOCKS),
    ),
    "padding": (hf.padding_mask_function(torch.tensor(VALID).bool()), am.padding(valid=np.array(VALID, bool))),
    "packed": (hf.packed_sequence_mask_function(torch.tensor(IDS)), am.documents(IDS)),
    "packed chunks": (
        hf.packed_sequence_compatibility_function(
            hf.chunked_causal_mask_function(2, torch.tensor([0, 0])), torch.tensor(POSITIONS), torch.tensor(IDS)
        ),
        (am.causal() & am.chunked(2)).within(IDS),
    ),
    "offsets": (
        hf.add_offsets_to_mask_function(hf.sliding_window_causal_mask_function(3), 4, 1),
        am.window(2).shift(q=4, k=1),
    ),
}


def evaluated(function):
    """Their function at every position, broadcast as in their own fast path."""
    batch, size = torch.arange(2)[:, None, None, None], torch.arange(8)
    value = function(batch, torch.arange(1)[None, :, None, None], size[None, None, :, None], size)
    return torch.broadcast_to(value, (2, 1, 8, 8)).numpy()


@pytest.mark.parametrize("name", CASES)
def test_each_function_is_an_expression(name):
    function, ours = CASES[name]
    assert np.array_equal(np.broadcast_to(ours.dense(8), (2, 1, 8, 8)), evaluated(function))


TRACED = [name for name in CASES if name in ("causal", "bidirectional", "blockwise", "padding", "packed")]


@pytest.mark.parametrize("name", TRACED)
def test_functions_of_operators_can_be_traced(name):
    function, _ = CASES[name]
    assert np.array_equal(np.broadcast_to(am.trace(function).dense(8), (2, 1, 8, 8)), evaluated(function))


def created(function, **options):
    """The boolean mask that a model would be given."""
    embeds = torch.zeros(2, 8, 4)
    options = {"attention_mask": None, "past_key_values": None, **options}
    return function(CONFIG, embeds, allow_is_causal_skip=False, **options).numpy()


ENTRIES = {
    "causal": (hf.create_causal_mask, {}, am.causal()),
    "causal, padded": (
        hf.create_causal_mask,
        {"attention_mask": torch.tensor(VALID)},
        am.causal() & am.padding(valid=np.array(VALID, bool)),
    ),
    "causal, packed": (
        hf.create_causal_mask,
        {"position_ids": torch.tensor(POSITIONS)},
        am.causal() & am.documents(IDS),
    ),
    "causal, images": (
        hf.create_causal_mask,
        {"block_sequence_ids": torch.tensor(BLOCKS)},
        am.causal() | am.images(BLOCKS),
    ),
    "sliding": (hf.create_sliding_window_causal_mask, {}, am.window(2)),
    "sliding, images": (
        hf.create_sliding_window_causal_mask,
        {"block_sequence_ids": torch.tensor(BLOCKS)},
        am.window(2) | am.images(BLOCKS),
    ),
    "sliding, packed": (
        hf.create_sliding_window_causal_mask,
        {"position_ids": torch.tensor(POSITIONS)},
        am.window(2) & am.documents(IDS),
    ),
    "chunked": (hf.create_chunked_causal_mask, {}, am.causal() & am.chunked(3)),
    "chunked, left padding": (
        hf.create_chunked_causal_mask,
        {"attention_mask": torch.tensor([[1] * 8, [0, 0] + [1] * 6])},
        am.causal() & am.chunked(3).shift(q=LEFT, k=LEFT) & am.padding([8, 6], side="left", kv_len=8),
    ),
    "chunked, packed": (
        hf.create_chunked_causal_mask,
        {"position_ids": torch.tensor(POSITIONS)},
        (am.causal() & am.chunked(3)).within(IDS),
    ),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_entry_points_give_the_same_mask(name):
    function, options, ours = ENTRIES[name]
    assert np.array_equal(np.broadcast_to(ours.dense(8), (2, 1, 8, 8)), created(function, **options))


def test_packed_positions_give_the_ids_used_here():
    assert hf.find_packed_sequence_indices(torch.tensor(POSITIONS)).tolist() == IDS
