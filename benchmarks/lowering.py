"""What it costs to find the tiles of a mask: attnmask beside its peers, as ratios from one run.

    python benchmarks/lowering.py            prints the table, writes results/lowering-cpu.json and docs/benchmarks.md

Every figure counts the building of the mask. Peers evaluate every pair of positions (torch's create_block_mask, JAX Splash) or know one mask (attention-gym).
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from attn_gym.masks.causal import create_causal_block_mask_fast
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask, splash_attention_mask_info
from torch.nn.attention.flex_attention import create_block_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attnmask as am
from benchmarks.measure import Row, interleaved, peak_megabytes, processor, save_beside_targets, write_section

Make = Callable[[], am.Mask]

ROUNDS = 5
SEED = 0


def document_ids(length: int, count: int) -> np.ndarray:
    """Random cuts of a sequence into documents."""
    cuts = np.random.default_rng(SEED).choice(np.arange(1, length), count - 1, replace=False)
    return np.searchsorted(np.sort(cuts), np.arange(length), side="right")


def kinds_at(length: int) -> dict[str, tuple[Make, object]]:
    """What makes the masks of a length, and the same for create_block_mask as its users write them."""
    ids = document_ids(length, 32)
    tensor = torch.from_numpy(ids)
    return {
        "causal": (am.causal, lambda b, h, q, k: q >= k),
        "window 1024": (lambda: am.window(1023), lambda b, h, q, k: (q >= k) & (q - k < 1024)),
        "32 causal documents": (
            lambda: am.causal() & am.documents(ids),
            lambda b, h, q, k: (q >= k) & (tensor[q] == tensor[k]),
        ),
        "prefix LM": (lambda: am.prefix(length // 4) | am.causal(), lambda b, h, q, k: (k < length // 4) | (q >= k)),
    }


def tiles(make: Make, length: int) -> object:
    return am.lower(make(), length, "tiles")


def alone(rows: list, work: str, run: Callable[[], object], seconds: float, megabytes: float) -> None:
    """A case that has only a limit."""
    took = interleaved({work: run}, ROUNDS)[work]
    peak = peak_megabytes(run)
    rows.append(
        (
            work,
            f"under {seconds} s, {megabytes} MB",
            f"{took:.4f} s, {peak:.0f} MB",
            took < seconds and peak < megabytes,
        )
    )


def beside(rows: list, work: str, ours, peer, least: float) -> None:
    """A case whose figure is how much faster than a peer it is."""
    took = interleaved({"ours": ours, "peer": peer}, ROUNDS)
    ratio = took["peer"] / took["ours"]
    rows.append(
        (
            work,
            f"at least {least:g} times",
            f"{ratio:.0f} times ({took['peer']:.3f} s / {took['ours']:.5f} s)",
            ratio >= least,
        )
    )


def against_create_block_mask(rows: list, length: int, builder, name: str, least: float) -> None:
    for kind, (make, mod) in kinds_at(length).items():
        beside(
            rows,
            f"{kind}, {length} tokens, against {name}",
            lambda make=make: tiles(make, length),
            lambda mod=mod: builder(mod, None, None, length, length, device="cpu"),
            least,
        )


def against_splash(rows: list, length: int) -> None:
    def scan() -> object:
        mask = splash_attention_mask.MultiHeadMask([splash_attention_mask.CausalMask((length, length))])
        splash_attention_mask_info._process_mask.cache_clear()
        return splash_attention_mask_info.process_mask(mask, (512, 512))

    beside(
        rows,
        f"causal, {length} tokens, against JAX Splash's scan",
        lambda: am.lower(am.causal(), length, "tiles", tile=512),
        scan,
        50,
    )


def growth(rows: list) -> None:
    """Seconds per token from 2**17 to 2**20 tokens, largest over smallest length."""
    for kind in ("window 1024", "32 causal documents"):
        lengths = [2**17, 2**20]
        cases = {str(length): partial(tiles, kinds_at(length)[kind][0], length) for length in lengths}
        took = interleaved(cases, ROUNDS)
        factor = took[str(2**20)] / took[str(2**17)]
        rows.append(
            (
                f"{kind}, 8 times as many tokens (2^17 to 2^20)",
                "at most 8 times as long",
                f"{factor:.1f} times",
                factor <= 8.8,
            )
        )


def random_graph(rows: list) -> None:
    nodes = 1_000_000
    edges = np.random.default_rng(SEED).integers(0, nodes, (1_000_000, 2))

    def build_and_tile() -> object:
        return tiles(lambda: am.graph(edges, nodes), nodes)

    took = interleaved({"graph": build_and_tile}, 3)["graph"]
    peak = peak_megabytes(build_and_tile)
    work = "graph of 1 000 000 random edges on 1 000 000 tokens, built and tiled"
    rows.append((work, "under 5 s, 1000 MB", f"{took:.2f} s, {peak:.0f} MB", took < 5 and peak < 1000))


def main() -> int:
    rows: list[tuple[str, str, str, bool]] = []
    million = 1 << 20
    lengths = np.bincount(document_ids(million, 1000)).tolist()
    documents_of = kinds_at(800_000)["32 causal documents"][0]
    edges = np.random.default_rng(SEED).integers(0, 100_000, (100_000, 2))
    alone(rows, "causal, 96 000 tokens", lambda: tiles(am.causal, 96_000), 0.1, 100)
    alone(
        rows,
        "causal & window(4095) & 1000 documents by their lengths, 1 048 576 tokens",
        lambda: tiles(lambda: am.causal() & am.window(4095) & am.documents(lengths=lengths), million),
        0.05,
        200,
    )
    alone(
        rows,
        "1000 documents by their lengths, 1 048 576 tokens, built alone",
        lambda: am.documents(lengths=lengths),
        0.02,
        60,
    )
    alone(rows, "32 causal documents, 800 000 tokens", lambda: tiles(documents_of, 800_000), 0.05, 200)
    alone(
        rows, "graph of 100 000 random edges, built and counted", lambda: am.graph(edges, 100_000).count(100_000), 1, 60
    )
    against_create_block_mask(rows, 16_384, create_block_mask, "create_block_mask", 500)
    compiled = torch.compile(create_block_mask)
    against_create_block_mask(rows, 32_768, compiled, "compiled create_block_mask", 20)
    fast = 131_072
    beside(
        rows,
        f"causal, {fast} tokens, against attention-gym's causal builder",
        lambda: tiles(am.causal, fast),
        lambda: create_causal_block_mask_fast(None, None, fast, fast, device="cpu"),
        1,
    )
    against_splash(rows, 32_768)
    growth(rows)
    random_graph(rows)
    report(rows)
    return 0 if all(met for *_, met in rows) else 1


def report(rows: list[Row]) -> None:
    table = save_beside_targets("lowering-cpu", rows)
    write_section(
        "Lowering: what it costs to find the tiles of a mask", TEXT.format(table=table, processor=processor())
    )


TEXT = """
Written by `python benchmarks/lowering.py`: medians of one run, every case beside its peer, on two cores of
{processor}; building the mask is counted. The machine and the
versions are in `benchmarks/results/lowering-cpu.json`.

{table}

`create_block_mask`, compiled or not, and Splash evaluate every pair of positions; attention-gym's builder knows causal masks
only. attnmask looks inside regions that are neither wholly visible nor wholly hidden. torch's `create_block_mask` needs
8 bytes per pair before compilation: at 64 000 tokens it asks for 33 GB.
"""


if __name__ == "__main__":
    sys.exit(main())
