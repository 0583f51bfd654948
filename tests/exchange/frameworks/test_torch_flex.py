"""BlockMasks from tiles: those of create_block_mask, usable by FlexAttention, and back."""

import time

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

import attnmask as am
from attnmask.errors import FrameworkError
from tests.lower.at_length import kinds_at

FIELDS = ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks")
INDICES = ("kv_indices", "full_kv_indices", "q_indices", "full_q_indices")


def same_blocks(one, other):
    for counts, indices in zip(FIELDS, INDICES, strict=True):
        left, right = getattr(one, counts), getattr(other, counts)
        assert torch.equal(left, right), counts
        for place in np.ndindex(*left.shape):
            rows = (getattr(mask, indices)[place][: left[place]] for mask in (one, other))
            assert torch.equal(*(row.sort().values for row in rows)), indices


@pytest.mark.parametrize("n", [129, 300])
def test_both_directions_are_those_of_create_block_mask(n):
    for mask in kinds_at(n).values():
        found = am.export(mask, "torch.flex", n)["block_mask"]
        assert isinstance(found, BlockMask)
        batch, heads = found.kv_num_blocks.shape[:2]
        same_blocks(found, create_block_mask(found.mask_mod, batch, heads, n, n, device="cpu"))


def test_flex_attention_runs_with_it():
    mask = am.causal() & am.documents(lengths=[100, 57, 43])
    frame = am.Frame(70, 200, q_start=90)
    q, k, v = (torch.randn(1, 2, size, 16, generator=torch.Generator().manual_seed(size)) for size in (70, 200, 200))
    with pytest.warns(UserWarning, match="flex_attention"):
        found = flex_attention(q, k, v, **am.export(mask, "torch.flex", frame))
    torch.testing.assert_close(found, am.attention(q, k, v, mask, frame=frame))


def test_a_long_block_mask_is_made_quickly():
    """The figure is in docs/benchmarks.md; this only notices a return to evaluating every pair."""
    started = time.perf_counter()
    found = am.export(am.causal(), "torch.flex", 32_768)["block_mask"]
    assert found.kv_num_blocks.shape == (1, 1, 256)
    assert time.perf_counter() - started < 10  # create_block_mask takes longer, and 10 GB


def test_reading_back():
    mask = am.causal() & am.window(100)
    assert am.read(am.export(mask, "torch.flex", 300), "torch.flex") == mask
    built = create_block_mask(lambda b, h, q, k: (q >= k) & (q - k < 50), 1, 1, 300, 300, device="cpu")
    assert am.read(built, "torch.flex") == (am.k <= am.q) & (am.q - am.k < 50)


def test_blocks_of_another_length_are_refused():
    built = create_block_mask(lambda b, h, q, k: q >= k, 1, 1, 300, 300, device="cpu")
    stale = BlockMask.from_kv_blocks(
        built.kv_num_blocks, built.kv_indices, mask_mod=lambda b, h, q, k: q < k, seq_lengths=(300, 300)
    )
    with pytest.raises(FrameworkError, match="other blocks"):
        am.read(stale, "torch.flex")
    with pytest.raises(FrameworkError, match="BlockMask"):
        am.read(torch.ones(3, 3), "torch.flex")


def packed_intervals(block_mask, length):
    """What torch's analyser of masks makes of a mask_mod, as its flash backend asks it (private names of torch 2.13)."""
    from types import SimpleNamespace

    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
    from torch._inductor.kernel.flex.interval_mask_packing import select_packed_mask_intervals
    from torch._inductor.sizevars import SizeVarAllocator
    from torch._inductor.virtualized import V
    from torch.fx.experimental.proxy_tensor import make_fx

    found = []

    def backend(graph, example_inputs):
        mask_mod = next(part for name, part in graph.named_children() if "mask_fn" in name)
        inputs = [node.meta["example_value"] for node in mask_mod.graph.nodes if node.op == "placeholder"]
        zeros = [torch.zeros(value.shape, dtype=value.dtype) for value in inputs]
        with TransformGetItemToIndex(), V.set_graph_handler(SimpleNamespace(sizevars=SizeVarAllocator())):
            found.append(select_packed_mask_intervals(make_fx(mask_mod, tracing_mode="fake")(*zeros)))
        return graph.forward

    torch._dynamo.reset()
    q = torch.randn(1, 1, length, 16)
    compiled = torch.compile(lambda q, mask: flex_attention(q, q, q, block_mask=mask), backend=backend, fullgraph=True)
    compiled(q, block_mask)
    return found[0]


DOCUMENTS = am.documents(lengths=[100, 57])


@pytest.mark.parametrize(
    "mask",
    [DOCUMENTS & am.causal(), DOCUMENTS, DOCUMENTS & am.window(9), am.causal() & am.documents([[0] * 100 + [1] * 57])],
    ids=str,
)
def test_contiguous_documents_are_bounds_that_torch_packs(mask):
    found = packed_intervals(am.export(mask, "torch.flex", 157)["block_mask"], 157)
    assert len(found) == 1


def test_documents_in_pieces_stay_comparisons():
    mask = am.documents([0] * 50 + [1] * 57 + [0] * 50)
    assert packed_intervals(am.export(mask, "torch.flex", 157)["block_mask"], 157) is None


@pytest.mark.parametrize(
    "mask",
    [
        am.documents([[0, 0, 1, 1, 1, 2, 2], [3, 3, 3, 3, 0, 0, 0]]),
        am.causal() & am.documents(lengths=[[3, 4], [1, 6]]),
        am.documents([0, 0, 0, 1, 1, 0, 0]) & am.causal(),
        am.documents([0, 0, 0, 1, 1, 2, 2]) & am.documents([0, 1, 1, 1, 1, 1, 1]) & am.window(2, 3),
        ~am.documents([0, 0, 0, 1, 1, 2, 2]),
    ],
    ids=str,
)
def test_documents_as_bounds_are_the_documents(mask):
    frame = am.Frame(4, 7, q_start=2)
    mask_mod = am.export(mask, "torch.flex", frame)["block_mask"].mask_mod
    dense = mask.dense(frame)
    positions = (torch.tensor(place) for place in np.ix_(*(np.arange(size) for size in dense.shape)))
    assert np.array_equal(np.broadcast_to(mask_mod(*positions).numpy(), dense.shape), dense)


def test_positions_beyond_32_bits_are_refused():
    mask = am.q * am.q >= am.k * am.k
    assert am.export(mask, "torch.flex", 500)
    with pytest.raises(FrameworkError, match="FlexAttention's kernels compute positions in 32 bits"):
        am.export(mask, "torch.flex", am.Frame(2, 50_000, align="end"))
