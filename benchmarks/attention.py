"""What attention under a mask costs: attnmask beside its peers and its own engines, as ratios from one run.

    python benchmarks/attention.py --flex                             prints the table, writes results and documentation
    python benchmarks/attention.py --flex --again --rounds 11         measures again what was slower than a peer
    python benchmarks/attention.py --device cuda --dtype bfloat16 --flex       on a GPU; results under its name
    python benchmarks/attention.py --patterns window --lengths 4096 --rounds 3 --no-save      a part of it, quickly

Peers: SDPA with a dense boolean mask, SDPA without a mask array where that is exact, a loop over documents with
is_causal, and with --flex FlexAttention compiled (forward only; the time to build its mask is not counted). Beside them
each of our own engines that can run, asked for by name: engine=None must not lose to any of them.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import attnmask as am
from attnmask.run.choose import refusal
from attnmask.run.engines.numpy import oracle
from attnmask.run.request import request_of
from benchmarks.attention_report import MEMORY, new_mask_figures, overhead_figures, summary, write_page
from benchmarks.measure import interleaved, loaded, processor, save

HEADS, DIM = 8, 64
LONG, FEW_HEADS = 16_384, 2  # from so many tokens on, so many heads, that a run ends within the hour
SEED = 0
SLOW = 0.95
OURS, OWN = "attnmask", "our engine "  # as it chooses; and each by its name, after these words
ENGINES = ("cpu", "torch")
UNMASKED = "unmasked"  # not a peer: the unit of the visible rate
CALLS = 100  # short calls that are timed together
LARGEST_DENSE = 20_000**2  # pairs of a boolean mask over all batches; SDPA makes numbers of four times the size of it


class Case(NamedTuple):
    """A mask at a length, and what SDPA needs to compute it without a mask array, if it can."""

    mask: am.Mask
    frame: am.Frame
    batch: int = 1
    native: dict[str, Any] | None = None
    documents: tuple[int, ...] = ()
    heads: int = HEADS


def random_lengths(total: int, mean: int) -> tuple[int, ...]:
    """Lengths of documents that fill a sequence."""
    cuts = np.random.default_rng(SEED).choice(np.arange(1, total), max(total // mean - 1, 1), replace=False)
    return tuple(np.diff(np.sort(np.concatenate([[0, total], cuts]))).tolist())


def ragged(length: int, batch: int) -> list[int]:
    """Lengths of the sequences of a batch."""
    return np.random.default_rng(SEED).integers(length // 4, length + 1, batch).tolist()


def random_graph(length: int, degree: int) -> am.Mask:
    """Each row sees some random keys."""
    random = np.random.default_rng(SEED)
    keys = np.concatenate([random.choice(length, degree, replace=False) for _ in range(length)])
    return am.graph(np.stack([np.repeat(np.arange(length), degree), keys], axis=1), length)


def random_tree(nodes: int) -> list[int]:
    """The parents of a tree, as speculative decoding makes them."""
    random = np.random.default_rng(SEED)
    return [-1, *(int(random.integers(max(0, node - 8), node)) for node in range(1, nodes))]


def cases_at(n: int) -> dict[str, Case]:
    """All patterns at a length; those that have a length of their own, at that one."""
    square, padded, causal = am.Frame(n), am.Frame(n, batch=8), am.causal()
    lengths = random_lengths(n, 512)
    cases = {
        "full": Case(am.everything(), square, native={}),
        "causal": Case(causal, square, native={"is_causal": True}),
        "causal, right padding": Case(causal & am.padding(ragged(n, 8)), padded, 8),
        "causal, left padding": Case(causal & am.padding(ragged(n, 8), side="left", kv_len=n), padded, 8),
        **{f"window {w}": Case(causal & am.window(w - 1), square) for w in (256, 1024, 4096) if w < n},
        "documents": Case(causal & am.documents(lengths=list(lengths)), square, documents=lengths),
        "documents, window 256": Case(causal & am.window(255) & am.documents(lengths=list(lengths)), square),
        "prefix 1/4": Case(causal | am.prefix(n // 4), square),
        "sinks 4, window 1024": Case(causal & (am.sinks(4) | am.window(1023)), square),
        "dilated window": Case(causal & am.window(1023) & am.dilated(4), square),
        "block diffusion": Case(am.block_diffusion(n // 2, 32), square),
        "random graph": Case(random_graph(n, 32), square),
    }
    if n == 4096:
        cases["grid 64 x 64, kernel 13"] = Case(am.grid([64, 64], 13), square)
        frame = am.Frame(64, n, q_start=n - 64)
        cases["tree decode"] = Case(am.tree(random_tree(64), offset=n - 64), frame)
    return {name: case._replace(heads=HEADS if n < LONG else FEW_HEADS) for name, case in cases.items()}


def inputs(case: Case, dtype: torch.dtype, device: str = "cpu") -> list[torch.Tensor]:
    """q, k and v."""
    torch.manual_seed(SEED)
    lengths = (case.frame.q_len, case.frame.kv_len, case.frame.kv_len)
    return [
        torch.randn(case.batch, case.heads, length, DIM, dtype=dtype, device=device, requires_grad=True)
        for length in lengths
    ]


def peers(case: Case, device: str = "cpu") -> dict[str, Callable[..., torch.Tensor]]:
    """The ways to compute a case with torch alone, and ours."""
    run = {OURS: lambda q, k, v: am.attention(q, k, v, case.mask, frame=case.frame)}
    if case.native is not None:
        run["SDPA native"] = lambda q, k, v: scaled_dot_product_attention(q, k, v, **case.native)
    if case.frame.q_len * case.frame.kv_len * case.batch <= LARGEST_DENSE:
        visible = torch.from_numpy(case.mask.dense(case.frame)).to(device)
        run["SDPA dense"] = lambda q, k, v: scaled_dot_product_attention(q, k, v, attn_mask=visible)
    if case.documents:
        run["document loop"] = lambda q, k, v: document_loop(q, k, v, case.documents)
    return run


def own_engines(case: Case, arrays: list[torch.Tensor]) -> dict[str, Callable[..., torch.Tensor]]:
    """Each engine of ours that can run the case, by its name."""
    request = request_of("torch", case.mask, case.frame, dict(zip("qkv", arrays, strict=True)))
    return {
        OWN + name: lambda q, k, v, name=name: am.attention(q, k, v, case.mask, frame=case.frame, engine=name)
        for name in ENGINES
        if refusal(name, request) is None
    }


def document_loop(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    """One causal call for each document."""
    parts = zip(*(array.split(lengths, dim=2) for array in (q, k, v)), strict=True)
    return torch.cat([scaled_dot_product_attention(*part, is_causal=True) for part in parts], dim=2)


def flex(case: Case, arrays: list[torch.Tensor]) -> dict[str, Callable[..., torch.Tensor]]:
    """FlexAttention, compiled here; nothing where its compiler gives up."""
    from torch.nn.attention.flex_attention import flex_attention

    kwargs = am.export(case.mask, "torch.flex", case.frame, device=arrays[0].device)
    torch.compiler.reset()  # torch stops compiling a function after some masks
    compiled = torch.compile(flex_attention, dynamic=False)

    def run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return compiled(q.detach(), k.detach(), v.detach(), **kwargs)

    try:
        run(*arrays)
    except torch._dynamo.exc.TorchDynamoException as error:
        print(f"flex: {type(error).__name__} for {case.mask}")
        return {}
    return {"flex": run}


def forward(run: Callable[..., torch.Tensor], arrays: list[torch.Tensor]) -> None:
    with torch.no_grad():
        run(*arrays)
    finished(arrays)


def training(run: Callable[..., torch.Tensor], arrays: list[torch.Tensor], grad: torch.Tensor) -> None:
    torch.autograd.grad(run(*arrays), arrays, grad)
    finished(arrays)


def finished(arrays: list[torch.Tensor]) -> None:
    """A GPU computes after a call has returned."""
    if arrays[0].is_cuda:
        torch.cuda.synchronize()


def measured(name: str, case: Case, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The medians of one case, forward and forward + backward."""
    dtype = getattr(torch, options.dtype)
    arrays = inputs(case, dtype, options.device)
    grad = torch.randn_like(arrays[0])
    runs, started = peers(case, options.device), time.perf_counter()
    unmasked = Unmasked(min(case.frame.kv_len, 4096), dtype, options.device)
    forward(runs[OURS], arrays)
    first = time.perf_counter() - started
    runs |= own_engines(case, arrays)
    rows = []
    for work in options.work:
        if work == "forward":
            if options.flex:
                runs |= flex(case, arrays)
            chosen = {key: lambda run=run: forward(run, arrays) for key, run in runs.items()}
            chosen[UNMASKED] = unmasked.forward
        else:
            runs.pop("flex", None)
            chosen = {key: lambda run=run: training(run, arrays, grad) for key, run in runs.items()}
            chosen[UNMASKED] = unmasked.training
        seconds = interleaved(chosen, options.rounds, progress=False)
        fastest = unmasked.pairs / seconds.pop(UNMASKED)
        rows.append({**row(name, case, work, seconds, fastest, options), "first_call": first})
        rows[-1]["error"] = error(case, dtype) if work == "training" and options.device == "cpu" else None
        print(line(rows[-1]), flush=True)
    return rows


def row(
    name: str, case: Case, work: str, seconds: dict[str, float], fastest: float, options: argparse.Namespace
) -> dict[str, Any]:
    """One line of the results; ``fastest`` is how many pairs per second SDPA computes without a mask."""
    ours, own = seconds[OURS], {key: value for key, value in seconds.items() if key.startswith(OWN)}
    others = {key: value for key, value in seconds.items() if key not in own and key != OURS}
    visible = case.mask.count(case.frame) * (1 if "b" in case.mask.depends_on else case.batch)
    sizes = {"batch": case.batch, "heads": case.heads, "dim": DIM, "dtype": options.dtype, "device": options.device}
    plan = am.plan(case.mask, case.frame, training=work == "training", **sizes)
    return {
        "pattern": name,
        "q_len": case.frame.q_len,
        "kv_len": case.frame.kv_len,
        "work": work,
        "density": visible / (case.batch * case.frame.q_len * case.frame.kv_len),
        "seconds": seconds,
        "engine": plan.engine,
        "computed": plan.computed / plan.dense,
        "best_peer": min(others, key=others.__getitem__) if others else None,
        "ratio": min(others.values()) / ours if others else None,
        **beside_own(plan.engine, ours, own),
        "rate": visible * case.heads / ours / fastest,
    }


def beside_own(engine: str | None, ours: float, own: dict[str, float]) -> dict[str, Any]:
    """The fastest of our other engines, beside the one that was chosen."""
    chosen = min(ours, own.pop(f"{OWN}{engine}", ours))
    if not own:
        return {"best_own": None, "own_ratio": None}
    best = min(own, key=own.__getitem__)
    return {"best_own": best.removeprefix(OWN), "own_ratio": own[best] / chosen}


def line(result: dict[str, Any]) -> str:
    ratio = "       -" if result["ratio"] is None else f"{result['ratio']:8.2f}"
    return (
        f"{result['pattern']:26} {result['q_len']:6} x {result['kv_len']:<6} {result['work']:9} "
        f"{100 * result['density']:6.2f} % {1e3 * result['seconds'][OURS]:10.2f} ms {ratio} {result['rate']:6.2f}  "
        f"{result['best_peer'] or '':14} {result['engine']:6} {result.get('own_ratio') or 1:6.2f} {result.get('best_own') or ''}"
    )


class Unmasked:
    """SDPA without a mask, which is measured in turn with every case: what the machine gives at that moment."""

    def __init__(self, length: int, dtype: torch.dtype, device: str) -> None:
        self.arrays = inputs(Case(am.everything(), am.Frame(length)), dtype, device)
        self.grad = torch.randn_like(self.arrays[0])
        self.pairs = HEADS * length**2

    def forward(self) -> None:
        forward(scaled_dot_product_attention, self.arrays)

    def training(self) -> None:
        training(scaled_dot_product_attention, self.arrays, self.grad)


def repeated(run: Callable[..., torch.Tensor], arrays: list[torch.Tensor]) -> None:
    """Many short calls, as one that can be timed."""
    for _ in range(CALLS):
        run(*arrays)
    finished(arrays)


def overheads(device: str) -> dict[str, dict[str, float]]:
    """Microseconds of a short call, beside SDPA given a mask that is already a tensor."""
    short, step = am.Frame(64), am.Frame(1, 4096, align="end")
    cases = {
        "64 x 64, causal": Case(am.causal(), short, native={"is_causal": True}),
        "64 x 64, window": Case(am.window(7), short),
        "decode 1 x 4096, causal": Case(am.causal(), step, native={}),
        "decode 1 x 4096, window 1024": Case(am.causal() & am.window(1023), step),
    }
    results = {}
    for name, case in cases.items():
        arrays = [array.detach() for array in inputs(case, torch.float32, device)]
        runs = {key: lambda run=run, arrays=arrays: repeated(run, arrays) for key, run in peers(case, device).items()}
        results[name] = {key: 1e6 * took / CALLS for key, took in interleaved(runs, 25, progress=False).items()}
        print(f"{name:30}", {key: round(value, 1) for key, value in results[name].items()}, "us")
    return results


def new_masks(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds of a training step over packed documents of other lengths in each step, building the mask included."""
    n, random, results = 4096, np.random.default_rng(SEED), {}
    arrays = inputs(Case(am.causal(), am.Frame(n)), getattr(torch, options.dtype), options.device)
    grad = torch.randn_like(arrays[0])

    def cut() -> list[int]:
        return np.diff(np.sort([0, *random.choice(np.arange(1, n), n // 512 - 1, replace=False), n])).tolist()

    def ours(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return am.attention(q, k, v, am.causal() & am.documents(lengths=cut()))

    def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        ids = torch.arange(n // 512, device=q.device).repeat_interleave(torch.tensor(cut(), device=q.device))
        place = torch.arange(n, device=q.device)
        visible = (ids[:, None] == ids) & (place[:, None] >= place)
        return scaled_dot_product_attention(q, k, v, attn_mask=visible)

    runs = {OURS: ours, "SDPA dense": dense}
    for work, step in (("forward", forward), ("training", lambda run, leaves: training(run, leaves, grad))):
        cases = {key: lambda run=run, step=step: step(run, arrays) for key, run in runs.items()}
        results[work] = interleaved(cases, options.rounds, progress=False)
        print(
            f"a new mask every step, {work}", {key: round(1e3 * value, 1) for key, value in results[work].items()}, "ms"
        )
    return results


def error(case: Case, dtype: torch.dtype) -> float | None:
    """Our error in the output and in each gradient, the worst of them, over that of SDPA with a dense mask, on the same input."""
    arrays = [array[:2] for array in inputs(case._replace(batch=min(case.batch, 2)), dtype)]
    if case.frame.kv_len > 1024 or case.batch > 1:
        return None
    grad = torch.randn_like(arrays[0])
    exact = [array.detach().double().numpy() for array in (*arrays, grad)]
    scale = DIM**-0.5
    right = [oracle.attention(*exact[:3], case.mask, case.frame, scale)]
    right += oracle.gradients(*exact, case.mask, case.frame, scale)
    runs = peers(case)
    errors = [errors_of(runs[name], arrays, grad, right) for name in ("attnmask", "SDPA dense")]
    return max(ours / theirs for ours, theirs in zip(*errors, strict=True))


def errors_of(
    run: Callable[..., torch.Tensor], arrays: list[torch.Tensor], grad: torch.Tensor, right: Any
) -> list[float]:
    """The root mean square error of the output, and of each gradient."""
    leaves = [array.detach().requires_grad_() for array in arrays]
    output = run(*leaves)
    parts = (output, *torch.autograd.grad(output, leaves, grad))
    return [
        np.sqrt(np.square(part.detach().double().numpy() - one).mean()) for part, one in zip(parts, right, strict=True)
    ]


def memory() -> float:
    """The largest memory that a forward pass took beside its inputs and output, over the size of those."""
    code = (
        "import re, torch, attnmask as am\n"
        f"q, k, v = (torch.randn(1, {HEADS}, 65536, {DIM}) for _ in range(3))\n"
        "peak = lambda: 1024 * int(re.search('VmHWM:.*?([0-9]+)', open('/proc/self/status').read())[1])\n"
        "am.attention(*(a[:, :, :4096] for a in (q, k, v)), am.causal() & am.window(1023))\n"
        "before = peak()\n"
        "am.attention(q, k, v, am.causal() & am.window(1023))\n"
        "print((peak() - before - q.nbytes) / (4 * q.nbytes))\n"
    )
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patterns", nargs="*", default=[""], help="parts of pattern names")
    parser.add_argument("--lengths", nargs="*", type=int, default=[1024, 4096, 16384])
    parser.add_argument("--work", nargs="*", default=["forward", "training"], choices=["forward", "training"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16", "float64"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flex", action="store_true", help="compile FlexAttention for every case")
    parser.add_argument("--again", action="store_true", help="only the saved cells that were slower than a peer")
    parser.add_argument("--no-save", action="store_true")
    return parser.parse_args()


def measured_again(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The saved cells; those slower than their best peer are measured again, on a machine that others use too."""
    cells: list[dict[str, Any]] = loaded(name)["cells"]
    slowest = [
        (min(cell["ratio"] or 1, cell.get("own_ratio") or 1), cell)
        for cell in cells
        if cell["kv_len"] in options.lengths
    ]
    chosen = [cell for ratio, cell in slowest if ratio < SLOW]
    slow = {(cell["pattern"], cell["kv_len"], cell["work"]) for cell in chosen}
    for pattern, length, work in sorted(slow):
        case = cases_at(length)[pattern]
        (new,) = measured(pattern, case, argparse.Namespace(**{**vars(options), "work": [work]}))
        place = next(
            n
            for n, cell in enumerate(cells)
            if (cell["pattern"], cell["kv_len"], cell["work"]) == (pattern, length, work)
        )
        cells[place] = {**new, "rounds": options.rounds}
    return cells


def measured_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All patterns at all lengths."""
    chosen = [(name, case) for length in options.lengths for name, case in cases_at(length).items()]
    return [
        cell
        for name, case in chosen
        if any(part in name for part in options.patterns)
        for cell in measured(name, case, options)
    ]


def among_saved(name: str, cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The saved cells, those that were measured now replaced."""
    new = {(cell["pattern"], cell["kv_len"], cell["work"]): cell for cell in cells}
    try:
        saved = loaded(name)["cells"]
    except FileNotFoundError:
        return cells
    kept = [new.pop((cell["pattern"], cell["kv_len"], cell["work"]), cell) for cell in saved]
    return [*kept, *new.values()]


def main() -> None:
    options = arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "--device cuda needs a GPU that torch can use, and there is none; leave the option out to measure the CPU"
        )
    place = processor() if options.device == "cpu" else torch.cuda.get_device_name()
    name = "-".join(["attention", *re.findall(r"\w+", place), options.dtype])
    cells = measured_again(name, options) if options.again else measured_all(options)
    cells = cells if options.no_save else among_saved(name, cells)
    print(
        "\nratio: times faster than the best peer; then visible pairs per second over those of unmasked SDPA, the engine, "
        "and times faster than the best of our own engines"
    )
    for cell in cells:
        print(line(cell))
    figures = {**summary(cells), **overhead_figures(overheads(options.device)), **new_mask_figures(new_masks(options))}
    if options.device == "cpu":
        figures[MEMORY] = {"reached": (used := memory()), "target": 3.0, "met": used < 3.0, "most": True}
    for figure_name, figure in figures.items():
        met = "met" if figure["met"] else "MISSED"
        print(f"{figure_name}: {figure['reached']:.3g} (target {figure['target']:.3g}) {met}")
    if not options.no_save:
        print(save(name, {"cells": cells, "figures": figures}))
        write_page(f"Attention on {place}, {options.dtype}", cells, figures)


if __name__ == "__main__":
    main()
