"""The figures of ``attention.py`` that have a target, and its part of docs/benchmarks.md."""

import math
import statistics
from typing import Any

from benchmarks.measure import write_section

Results = list[dict[str, Any]]

LARGE = ("window 1024", "window 4096", "documents")
MEMORY = "window 1024 at 65 536: extra memory over that of q, k, v and the output"


def geometric_mean(values: list[float]) -> float:
    return math.exp(statistics.fmean(map(math.log, values))) if values else math.nan


def summary(cells: Results) -> dict[str, dict[str, Any]]:
    """What each target asks for, and what was reached."""
    known = [cell for cell in cells if cell["ratio"] is not None]
    slowest = min(known, key=lambda cell: cell["ratio"])
    where = f"{slowest['pattern']}, {slowest['kv_len']}, {slowest['work']}"
    found = {f"slowest cell against its best peer ({where})": _figure(slowest["ratio"], 0.95)}
    own = min((cell for cell in cells if cell.get("own_ratio")), key=lambda cell: cell["own_ratio"])
    where = f"{own['pattern']}, {own['kv_len']}, {own['work']}: {own['engine']} for {own['best_own']}"
    found[f"slowest cell against the fastest of our other engines ({where})"] = _figure(own["own_ratio"], 0.95)
    for work, target in (("forward", 1.5), ("training", 3.0)):
        sparse = [cell for cell in known if cell["work"] == work and cell["density"] < 0.5 and cell["kv_len"] >= 4096]
        name = f"{work}: times as fast as the best peer, patterns under 50 % dense, 4k and 16k"
        found[name] = _figure(geometric_mean([cell["ratio"] for cell in sparse]), target)
    for work in ("forward", "training"):
        rates = [cell["rate"] for cell in cells if cell["work"] == work and cell["kv_len"] >= 4096]
        found[f"{work}: visible pairs per second over those of unmasked SDPA, 4k and 16k"] = _figure(
            geometric_mean(rates), 0.7
        )
    for work in ("forward", "training"):
        long = [cell for cell in cells if cell["work"] == work and cell["kv_len"] >= 4096]
        rates = [cell["rate"] for cell in long if cell["pattern"].startswith(("window", "documents"))]
        found[f"{work}: the same of windows and documents"] = _figure(geometric_mean(rates), 0.95)
        rates = [cell["rate"] for cell in long if cell["pattern"] in ("full", "causal")]
        if rates:
            found[f"{work}: the same of full and causal, the lowest"] = _figure(min(rates), 1.0)
    large = [cell for cell in cells if cell["pattern"] in LARGE and cell["kv_len"] >= 4096]
    if large:
        found["visible rate of windows from 1024 and of documents, 4k and 16k, the lowest"] = _figure(
            min(cell["rate"] for cell in large), 0.8
        )
    for cell in cells:
        if (cell["pattern"], cell["kv_len"]) == ("window 256", 16384) and "SDPA dense" in cell["seconds"]:
            ratio = cell["seconds"]["SDPA dense"] / cell["seconds"]["attnmask"]
            found[f"window 256 at 16k against SDPA with a dense mask, {cell['work']}"] = _figure(ratio, 25)
    errors = [cell["error"] for cell in cells if cell.get("error") is not None]
    if errors:
        found["root mean square error over that of SDPA with a dense mask, worst of the cells at 1k"] = _figure(
            max(errors), 1.0, most=True
        )
    return found


def new_mask_figures(seconds: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Against a dense mask that is built anew as well."""
    return {
        f"a new mask every step, documents at 4096, {work}: times as fast as SDPA with a dense mask": _figure(
            took["SDPA dense"] / took["attnmask"], 1.0
        )
        for work, took in seconds.items()
    }


def _figure(reached: float, target: float, *, most: bool = False) -> dict[str, Any]:
    met = bool(reached <= target if most else reached >= target)
    return {"reached": float(reached), "target": target, "met": met, "most": most}


def overhead_figures(overheads: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """At most 1.15 times as long as the fastest peer, or 15 microseconds longer."""
    found = {}
    for name, took in overheads.items():
        best = min(value for key, value in took.items() if key != "attnmask")
        most = max(1.15 * best, best + 15)
        found[f"one call, {name}: microseconds (SDPA {best:.0f})"] = _figure(took["attnmask"], most, most=True)
    return found


def write_page(title: str, cells: Results, figures: dict[str, dict[str, Any]]) -> None:
    """Both tables."""
    rows = [_target_row(name, figure) for name, figure in figures.items()]
    targets = "\n".join(["| figure | target | reached | |", "| --- | --- | --- | --- |", *rows])
    best = "\n".join(
        [
            "| pattern | length | work | visible | ms | times the best peer | best peer | visible rate | engine | times our best other engine |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *map(_cell_row, cells),
        ]
    )
    write_section(title, TEXT.format(targets=targets, cells=best))


def _target_row(name: str, figure: dict[str, Any]) -> str:
    bound = "at most" if figure["most"] else "at least"
    met = "met" if figure["met"] else "MISSED"
    return f"| {name} | {bound} {figure['target']:.4g} | {figure['reached']:.4g} | {met} |"


def _cell_row(cell: dict[str, Any]) -> str:
    ratio = _number(cell["ratio"])
    return (
        f"| {cell['pattern']} | {cell['q_len']} x {cell['kv_len']} | {cell['work']} | {100 * cell['density']:.1f} % "
        f"| {1e3 * cell['seconds']['attnmask']:.1f} | {ratio} | {cell['best_peer'] or ''} | {cell['rate']:.2f} "
        f"| {cell['engine']} | {_number(cell.get('own_ratio'))} |"
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


TEXT = """
Written by `python benchmarks/attention.py --flex`: medians of one run, every way to compute a pattern in turn in every round,
8 heads of 64 numbers (2 heads from 16 384 tokens on). `--again --rounds 11` measures again what was slower than a peer.
"Training" is forward and backward. The visible rate is visible pairs per second over the pairs per second of SDPA without any
mask (up to 4096 x 4096), which is measured in turn with every case. Peers: SDPA with a dense boolean mask, SDPA without one where that is exact, a loop over documents, compiled FlexAttention
(forward; the time to make its block mask is not counted). "Engine" is the one that was chosen; the last column compares it with our other engines, asked for by name. The machine and all times are in `benchmarks/results`.

{targets}

{cells}
"""
