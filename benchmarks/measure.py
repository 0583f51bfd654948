"""Timing side by side: every case once per round, so that a busy moment of the machine hits all of them."""

import gc
import json
import os
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
LONG, FEW = 2.0, 2  # seconds of a case, from which so many rounds are enough
PACKAGES = ("numpy", "torch", "jax", "transformers", "attn-gym")


def interleaved(cases: dict[str, Callable[[], object]], rounds: int, *, progress: bool = True) -> dict[str, float]:
    """The median seconds of each case over some rounds, after one call that is not counted.

    Of what takes seconds, which a busy moment moves less, a few rounds are enough.
    """
    took = {name: _seconds(run) for name, run in cases.items()}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds):
        for name, run in cases.items():
            if took[name] > LONG and number >= FEW:
                continue
            gc.collect()
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
        if progress:
            print(f"  round {number + 1} of {rounds}", end="\r", flush=True)
    return {name: statistics.median(values) for name, values in times.items()}


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def peak_megabytes(run: Callable[[], object]) -> float:
    """The largest memory that Python and NumPy held on top of what was there before."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def machine() -> dict[str, object]:
    """What the figures were made on."""
    installed = {name: version(name) for name in PACKAGES}
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        **installed,
    }


def processor() -> str:
    """The name of the processor, with the numbers that tell apart those of one name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    numbers = [f"{name.removeprefix('cpu ')} {known[name]}" for name in ("cpu family", "model") if name in known]
    return f"{known.get('model name', platform.machine())} ({', '.join(numbers)})"


def save(name: str, results: object) -> Path:
    """Write results and the machine as JSON into ``benchmarks/results``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "results": results}, indent=2) + "\n", encoding="utf-8")
    return path


Row = tuple[str, str, str, bool]  # the work, its target, what was reached, whether that meets it


def save_beside_targets(name: str, rows: list[Row]) -> str:
    """Print and save figures beside their targets; the table for the docs."""
    lines = ["| work | target | reached | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {work} | {target} | {reached} | {'met' if met else 'MISSED'} |" for work, target, reached, met in rows
    ]
    table = "\n".join(lines)
    print(table)
    keys = ("work", "target", "reached", "met")
    print(f"written: {save(name, [dict(zip(keys, row, strict=True)) for row in rows]).name}")
    return table


def loaded(name: str) -> Any:
    """Results that ``save`` wrote."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["results"]


def write_section(title: str, text: str) -> None:
    """Replace the section of docs/benchmarks.md with this title, or add it at the end."""
    parts = PAGE.read_text(encoding="utf-8").split("\n## ")
    section = f"{title}\n\n{text.strip()}\n"
    known = [part.partition("\n")[0] for part in parts]
    if title in known:
        parts[known.index(title)] = section
    else:
        parts.append(section)
    PAGE.write_text("\n\n## ".join(part.strip() for part in parts) + "\n", encoding="utf-8")
