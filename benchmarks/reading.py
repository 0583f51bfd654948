"""Decoding and graphs, where attention reads more than it computes: attnmask beside its peers and beside a plain read.

    python benchmarks/reading.py                   prints the tables, writes results and documentation
    python benchmarks/reading.py --rounds 3 --no-save

Decoding: few query rows over a cache of keys and values (8 heads of 128), several query heads to a head of keys. Peers:
SDPA with enable_gqa, and SDPA folded (the heads that share keys as rows of one head, windows cut out, the mask repeated).
A plain read is the largest number of the keys and of the values that some row sees. Graphs: 16 random keys for each of
16 384 nodes, 8 heads of 64. Peers: torch's sparse products (our engine "torch"), and gather and scatter. The last lines
are measured while another process keeps one core busy.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attnmask as am
from benchmarks.measure import interleaved, processor, save, write_section

KV_HEADS, DIM = 8, 128  # of a cache
NODES, DEGREE, HEADS, SIZE = 16_384, 16, 8, 64  # of graphs
DTYPES = ("float32", "bfloat16")
GROUPS = ((1, 1), (4, 1), (8, 1), (1, 4), (4, 4), (8, 2), (1, 15))  # heads that share keys, and query rows
READ = "plain read"


class Cache(NamedTuple):
    """Query rows over a cache; the window, and the keys of each sequence that are padding."""

    shared: int
    rows: int
    keys: int
    window: int | None = None
    padding: tuple[int, ...] = (0,)

    def __str__(self) -> str:
        words = f"{self.rows} x {self.keys:,}, {self.shared} heads share keys"
        words += "" if self.window is None else f", window {self.window:,}"
        return words + ("" if self.padding == (0,) else f", padding {self.padding}")

    @property
    def mask(self) -> am.Mask:
        mask = am.causal() if self.window is None else am.causal() & am.window(self.window - 1)
        if self.padding == (0,):
            return mask
        return mask & am.padding([self.keys - some for some in self.padding], side="left", kv_len=self.keys)


def caches() -> list[Cache]:
    cases = [Cache(*group, keys) for keys in (4096, 32_768) for group in GROUPS]
    return [
        *cases,
        Cache(4, 1, 32_768, window=1024),
        Cache(4, 4, 32_768, window=1024),
        Cache(4, 1, 4096, padding=(0, 2048)),
    ]


def decoding(cache: Cache, dtype: torch.dtype) -> dict[str, Callable[[], Any]]:
    """The ways to compute a case, and a read of what it needs."""
    batch, heads = len(cache.padding), KV_HEADS * cache.shared
    q = torch.randn(batch, heads, cache.rows, DIM, dtype=dtype)
    k, v = (torch.randn(batch, KV_HEADS, cache.keys, DIM, dtype=dtype) for _ in "kv")
    frame, first = am.Frame(cache.rows, cache.keys, align="end", batch=batch), 0
    visible = torch.from_numpy(cache.mask.dense(frame))
    if cache.window is not None:
        first = cache.keys - cache.rows - cache.window + 1
    few_k, few_v, few = k[:, :, first:], v[:, :, first:], visible[..., first:]
    plain = bool(visible.all())
    repeated = None if bool(few.all()) else few.expand(batch, heads, -1, -1).reshape(batch, KV_HEADS, -1, few.shape[3])

    def folded() -> torch.Tensor:
        rows = q.view(batch, KV_HEADS, cache.shared * cache.rows, DIM)
        return scaled_dot_product_attention(rows, few_k, few_v, attn_mask=repeated)

    def read() -> None:
        for array in (few_k, few_v):
            for part, some in zip(array, cache.padding, strict=True):
                part[:, some:].view(torch.int32).amax()

    return {
        "attnmask": lambda: am.attention(q, k, v, cache.mask, frame=frame),
        "SDPA, enable_gqa": lambda: scaled_dot_product_attention(
            q, k, v, attn_mask=None if plain else visible, enable_gqa=True
        ),
        "SDPA folded": folded,
        READ: read,
    }


def graphs(dtype: torch.dtype, training: bool) -> dict[str, Callable[[], Any]]:
    """The ways to compute a graph."""
    random = np.random.default_rng(0)
    rows, keys = np.repeat(np.arange(NODES), DEGREE), random.integers(0, NODES, NODES * DEGREE)
    mask = am.graph(np.stack([rows, keys], 1), NODES)
    leaves = [torch.randn(1, HEADS, NODES, SIZE, dtype=dtype).requires_grad_(training) for _ in "qkv"]
    grad, edges = torch.randn_like(leaves[0]), [torch.from_numpy(part) for part in (rows, keys)]
    ways = {
        "attnmask": lambda q, k, v: am.attention(q, k, v, mask),
        "torch.sparse": lambda q, k, v: am.attention(q, k, v, mask, engine="torch"),
        "gather and scatter": lambda q, k, v: gathered(q, k, v, *edges),
    }

    def case(way: Callable[..., torch.Tensor]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(way(*leaves), leaves, grad) if training else way(*leaves)

    return {name: case(way) for name, way in ways.items()}


def gathered(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, rows: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """As libraries for graphs compute it: numbers for every edge, a softmax over those of a row, and a sum."""
    shape = (*q.shape[:2], q.shape[2])
    index = rows.expand(*shape[:2], -1)
    scores = (q[:, :, rows] * k[:, :, keys]).sum(-1).float() * q.shape[3] ** -0.5
    largest = torch.full(shape, -torch.inf).scatter_reduce(2, index, scores.detach(), "amax")
    weights = (scores - largest.gather(2, index)).exp()
    total = torch.zeros(shape).scatter_add(2, index, weights)
    weights = (weights / total.gather(2, index)).to(v.dtype)
    return torch.zeros_like(q).index_add(2, rows, weights[..., None] * v[:, :, keys])


@contextmanager
def busy() -> Iterator[None]:
    """Another process on one core."""
    other = subprocess.Popen(["taskset", "-c", "0", sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def measured(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for dtype in DTYPES:
        with torch.no_grad():
            for cache in caches():
                rows.append(told(str(cache), dtype, "forward", decoding(cache, getattr(torch, dtype)), options))
        for work in ("forward", "training"):
            runs = graphs(getattr(torch, dtype), work == "training")
            name = f"graph of {NODES * DEGREE:,} edges"
            rows.append(told(name, dtype, work, runs, options))
            with busy():
                rows.append(told(f"{name}, another process on one core", dtype, work, runs, options))
    return rows


def told(
    name: str, dtype: str, work: str, runs: dict[str, Callable[[], Any]], options: argparse.Namespace
) -> dict[str, Any]:
    seconds = interleaved(runs, options.rounds, progress=False)
    row = {"case": name, "dtype": dtype, "work": work, "seconds": seconds}
    print(
        f"{name:58} {dtype:9} {work:9}", {key: f"{1e3 * took:.2f}" for key, took in seconds.items()}, "ms", flush=True
    )
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """Times of the fastest peer over ours, and the share of a plain read's rate."""
    lines = ["| case | numbers | work | ms | against the fastest peer | share of a plain read's rate |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        seconds = dict(row["seconds"])
        ours, read = seconds.pop("attnmask"), seconds.pop(READ, None)
        best = min(seconds, key=seconds.__getitem__)
        share = "" if read is None else f"{read / ours:.2f}"
        ratio = f"{seconds[best] / ours:.2f} ({best})"
        lines.append(f"| {row['case']} | {row['dtype']} | {row['work']} | {1e3 * ours:.2f} | {ratio} | {share} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-save", action="store_true")
    options = parser.parse_args()
    rows = measured(options)
    print(table(rows))
    if not options.no_save:
        name = "-".join("".join(c if c.isalnum() else " " for c in processor()).split())
        save(f"reading-{name}", rows)
        intro = "\n".join(str(__doc__).partition("\n\n")[2].partition("\n\n")[2].splitlines())
        write_section(f"Decoding and graphs: {processor()}", f"{intro}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
