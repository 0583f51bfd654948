"""Every mask_mod of attention-gym 0.0.17 as an attnmask expression, and traced where it consists of operators."""

import attn_gym.masks as gym
import numpy as np
import pytest
import torch
from attn_gym.masks.vsa import generate_vsa_padding_mask_mod
from torch.nn.attention.flex_attention import create_mask

import attnmask as am
from attnmask.errors import MaskError

OFFSETS = torch.tensor([0, 3, 5, 9, 12])
LENGTHS = [3, 2, 4, 3]
GLOBAL = torch.zeros(12, dtype=torch.bool).index_fill(0, torch.tensor([0, 7]), True)
PARTS = torch.tensor([0, 0, 2, 2])  # part 1 continues part 0, part 3 continues part 2
PARENTS = [-1, 0, 0, 1, 2]
TEXT = 3


def chunks(b, h, q, k):
    return q // 2 == k // 2


def beside_text(image, size):
    """An image with text behind it: text sees all and is seen by all."""
    return image | (am.q >= size) | (am.k >= size)


def svg_spatial(prompt, width):
    return am.window(width - 1, width - 1) | (am.k < prompt) | (am.q < prompt)


def svg_temporal(prompt, per_frame, width):
    q, k = ((term - prompt) % per_frame for term in (am.q, am.k))
    return (abs(q - k) < width) | (am.k < prompt) | (am.q < prompt)


# name -> (their function, our expression, q_len, kv_len)
CASES = {
    "causal": (gym.causal_mask, am.causal(), 12, 12),
    "sliding window": (gym.generate_sliding_window(3), am.window(3), 12, 12),
    "dilated": (gym.generate_dilated_sliding_window(4, 2), am.dilated(2) & am.window(4, 4), 12, 12),
    "global": (gym.generate_global_sliding_window(2, GLOBAL), am.window(2, 2) | am.landmarks([0, 7]), 12, 12),
    "prefix": (gym.generate_prefix_lm_mask(4), am.prefix(4) | am.causal(), 12, 12),
    "documents": (
        gym.generate_doc_mask_mod(lambda b, h, q, k: k >= 0, OFFSETS),
        am.everything().within(am.documents(lengths=LENGTHS)),
        12,
        12,
    ),
    "documents, causal": (
        gym.generate_doc_mask_mod(gym.causal_mask, OFFSETS),
        am.causal().within(am.documents(lengths=LENGTHS)),
        12,
        12,
    ),
    "documents, chunks": (
        gym.generate_doc_mask_mod(chunks, OFFSETS),
        am.chunked(2).within(am.documents(lengths=LENGTHS)),
        12,
        12,
    ),
    "packed causal": (
        gym.generate_packed_causal_doc_mask_mod(OFFSETS),
        am.causal() & am.documents(lengths=LENGTHS),
        12,
        12,
    ),
    "shared prefix": (
        gym.generate_shared_prefix_mask_mod(OFFSETS, PARTS),
        am.shared_prefix(LENGTHS, parents=[-1, 0, -1, 2]),
        12,
        12,
    ),
    "flamingo": (
        gym.generate_vision_cross_attention_mask_mod(torch.tensor([[0, 7], [1, 7], [7, 12]]), 3),
        am.media([0, 1, 7], 3, ends=[7, 7, 12]),
        12,
        9,
    ),
    "block diffusion": (gym.generate_block_diffusion_mask(6, 2), am.block_diffusion(6, 2), 12, 12),
    # Its width and height change places on grids that are not square: rows are held within the width.
    "natten": (gym.generate_natten(4, 4, 3, 3), am.grid([4, 4], 3), 16, 16),
    "natten 1": (gym.generate_natten(5, 5, 1, 5), am.grid([5, 5], [1, 5]), 25, 25),
    "sta 2d": (
        gym.generate_sta_mask_mod_2d((4, 6), (2, 6), (2, 2)),
        am.sliding_tiles([4, 6], 2, [2, 6], order="tile"),
        24,
        24,
    ),
    "sta 2d, even": (
        gym.generate_sta_mask_mod_2d((4, 8), (2, 4), (1, 2)),
        am.sliding_tiles([4, 8], [1, 2], [2, 4], order="tile"),
        32,
        32,
    ),
    "sta 2d, text": (
        gym.generate_sta_mask_mod_2d((4, 4), (2, 2), (2, 2), TEXT),
        beside_text(am.sliding_tiles([4, 4], 2, 2, order="tile"), 16),
        16 + TEXT,
        16 + TEXT,
    ),
    "sta 3d": (
        gym.generate_sta_mask_mod_3d((2, 4, 4), (2, 2, 4), (1, 2, 2)),
        am.sliding_tiles([2, 4, 4], [1, 2, 2], [2, 2, 4], order="tile"),
        32,
        32,
    ),
    "svg spatial": (gym.generate_spatial_head_mask_mod(4, 3, 6, 1, round_width=2), svg_spatial(4, 6), 22, 22),
    "svg temporal": (gym.generate_temporal_head_mask_mod(4, 3, 6, 1), svg_temporal(4, 6, 2), 22, 22),
    "jetspec tree": (
        gym.generate_jetspec_tree_causal_mask_mod(2, gym.build_tree_ancestor_matrix(PARENTS, device="cpu")),
        am.tree(PARENTS, offset=2).shift(q=2),  # its queries are counted from the tree's start
        5,
        7,
    ),
    "jetspec training": (
        gym.generate_jetspec_training_mask_mod(3, 4),
        (am.k < 3) | ((am.k >= 3) & (am.chunked(4) & am.causal()).shift(k=-3)),
        8,
        11,
    ),
    "batchify": (
        gym.batchify_mask_mod(chunks, 5),
        am.chunked(2).within(am.documents(lengths=[5, 5, 5])),
        15,
        15,
    ),
}
TILED = gym.generate_tiled_natten(6, 4, 3, 1, 3, 2)
MORTON = gym.generate_morton_natten(4, 4, 3, 3)
TOPK = torch.tensor([[[[0, 2], [1, 2], [3, 0], [2, 3]], [[1, 0], [2, 0], [0, 3], [3, 1]]]])
SIZES = torch.tensor([3, 3, 2, 1])


def theirs(function, q_len, kv_len, heads=1):
    return create_mask(function, 1, heads, q_len, kv_len, device="cpu").numpy()


@pytest.mark.parametrize("name", CASES)
def test_each_mask_mod_is_an_expression(name):
    function, ours, q_len, kv_len = CASES[name]
    assert np.array_equal(ours.dense(am.Frame(q_len, kv_len, q_start=0)), theirs(function, q_len, kv_len))


@pytest.mark.parametrize("name", CASES)
def test_each_mask_mod_can_be_traced(name):
    function, _, q_len, kv_len = CASES[name]
    traced = am.trace(function)
    assert np.array_equal(traced.dense(am.Frame(q_len, kv_len, q_start=0)), theirs(function, q_len, kv_len))
    assert am.parse(repr(traced)) == traced


def test_tiled_natten_can_be_traced():
    assert np.array_equal(am.trace(TILED).dense(24), theirs(TILED, 24, 24))


def test_morton_natten_is_refused_by_trace_and_said_with_look_ups():
    """Its bits are shifted and cut, which is not in the language; a table of coordinates is."""
    with pytest.raises(MaskError, match="a traced function consists of operators"):
        am.trace(MORTON)
    xs = [sum(((code >> 2 * bit) & 1) << bit for bit in range(2)) for code in range(16)]
    ys = [sum(((code >> 2 * bit + 1) & 1) << bit for bit in range(2)) for code in range(16)]

    def near(table):
        first = am.minimum(am.maximum(am.lookup(table, am.q) - 1, 0), 1)
        return (first <= am.lookup(table, am.k)) & (am.lookup(table, am.k) < first + 3)

    assert np.array_equal((near(xs) & near(ys)).dense(16), theirs(MORTON, 16, 16))


def test_chosen_tiles_of_video_sparse_attention_are_blocks():
    """Top-k tiles per head, and tiles that hold fewer tokens than their places."""
    function = gym.generate_vsa_mask_mod(TOPK, 3, SIZES)
    pattern = np.zeros((1, 2, 4, 4), bool)
    np.put_along_axis(pattern, TOPK.numpy(), True, axis=3)
    ours = am.blocks(pattern, 3) & (am.k % 3 < am.lookup(SIZES, am.k // 3))
    assert np.array_equal(ours.dense(12), theirs(function, 12, 12, heads=2))
    with pytest.raises(MaskError, match="stopped by"):
        am.trace(function)
    padding = am.trace(generate_vsa_padding_mask_mod(SIZES, 3))
    assert np.array_equal(ours.dense(12), (am.blocks(pattern, 3) & padding).dense(12))


def test_no_mask_mod_of_attention_gym_is_forgotten():
    """A new release that adds one turns this red."""
    made = {name for name in dir(gym) if name.startswith("generate_") or name in ("causal_mask", "batchify_mask_mod")}
    assert len(made) == 21, sorted(made)
