"""The command ``attnmask``: one sub-command per job.

Exit status: 0 all is well, 1 something was found (``audit``, ``diagnose``), 2 bad input, 130 interrupted (``train``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import attnmask as am
from attnmask import recipes
from attnmask.errors import AttnmaskError, InputError, require
from attnmask.recipes.command import generate_options, train_options

Command = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the installed script ``attnmask`` calls this."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (AttnmaskError, OSError) as error:
        print(f"attnmask {options.command}: {error}", file=sys.stderr)
        return 2


def explain(options: argparse.Namespace) -> int:
    """Every matrix of masked self-attention on a text, and whose information is in which cell."""
    worked = am.explain(options.text, mask=am.parse(options.mask))
    _save(worked, options.save)
    print(worked.to_json() if options.json else worked.text())
    return 0


def show(options: argparse.Namespace) -> int:
    """Draw a mask."""
    mask = am.parse(options.expression)
    frame = am.Frame(options.q_len, options.kv_len, q_start=options.q_start, align=options.align)
    if options.json:
        print(json.dumps({"mask": repr(mask), "frame": repr(frame), "visible": mask.dense(frame).astype(int).tolist()}))
        return 0
    picture = am.show(mask, frame)
    _save(picture, options.save)
    print(picture.text())
    return 0


def audit(options: argparse.Namespace) -> int:
    """Record the masks that a model really uses, and check that nothing leaks."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded: else threads that wait take the cores
    from attnmask.verify.audit import must_take_files

    if options.out:
        must_take_files(options.out)
    found = am.audit(
        options.target,
        allowed=options.allowed,
        scenarios=options.scenarios,
        vary=options.vary,
        output=_part(options.output) if options.output else None,
        inputs=_read_inputs(options.inputs) if options.inputs else None,
        length=options.length,
        batch=options.batch,
        mode=options.mode,
        progress=True,
    )
    print(json.dumps(found.as_json(), indent=2) if options.json else found.text(), flush=True)  # also if saving fails
    for path in found.save(options.out) if options.out else []:
        print(f"written: {path}", file=sys.stderr)
    return 0 if found.ok else 1


def diagnose(options: argparse.Namespace) -> int:
    """Name the mistakes in a mask array."""
    findings = am.diagnose(_read_array(options.file), options.framework)
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        print("\n".join(map(str, findings)) or "nothing found")
    return 1 if findings else 0


def convert(options: argparse.Namespace) -> int:
    """Convert a mask array from one framework's convention to another's."""
    array = _read_array(options.file)
    mask = am.read(array, options.source)
    shape = np.shape(array)
    frame = am.Frame(shape[-2], shape[-1], align="start")
    written = {
        name: _as_numpy(value) for name, value in am.export(mask, options.target, frame).items() if value is not None
    }
    with Path(options.out).open("wb") as file:
        np.savez(file, **written)
    shown = {name: {"dtype": str(value.dtype), "shape": list(value.shape)} for name, value in written.items()}
    recognised = str(am.recognize(mask))
    if options.json:
        print(json.dumps({"mask": recognised, "written": options.out, "arguments": shown}))
    else:
        print(
            f"{recognised}\nwritten: {options.out} with "
            + ", ".join(f"{name} {v['dtype']} {v['shape']}" for name, v in shown.items())
        )
    return 0


def bench(options: argparse.Namespace) -> int:
    """Measure attention under masks on this machine, beside torch's own, and say what to use."""
    require("torch", "torch")
    if options.save:
        return _save_costs(options)
    from attnmask.bench.torch_beside import bench as run
    from attnmask.explain.bench import Bench, busy

    mask = am.parse(options.expression) if options.expression else None
    cores, cells = os.cpu_count() or 1, []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    for cell in run(mask, options.length, options.dtype, options.device):
        cells.append(cell)
        print(f"  .. {cell.pattern}, {cell.length:,}, {cell.work}", file=sys.stderr, flush=True)
    machine = f"{cores} cores ({platform.machine()}), {options.device}, {options.dtype}, 8 heads of 64"
    found = Bench(tuple(cells), machine, busy(load, cores))
    print(found.to_json() if options.json else found.text())
    return 0


def _save_costs(options: argparse.Namespace) -> int:
    """Measure what attention costs on this machine, and keep it for the choice between engines."""
    from attnmask.bench.torch_costs import entry
    from attnmask.run.costs import keep

    measured = entry(lambda name: print(f"  .. {name}", file=sys.stderr, flush=True))
    path = keep(measured)
    told = f"measured on {measured.source}\nwritten: {path}; it decides between engines from the next process on"
    print(json.dumps({"written": str(path), **measured.to_json()}) if options.json else told)
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a recipe on real data, or go on where Ctrl-C stopped it."""
    from attnmask.recipes.command import train as run

    return run(options)


def generate(options: argparse.Namespace) -> int:
    """Let a model that was trained answer."""
    from attnmask.recipes.command import generate as run

    return run(options)


def _as_numpy(value: Any) -> Any:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _save(shown: Any, path: str | None) -> None:
    if path:
        shown.save(path)
        print(f"written: {path}", file=sys.stderr)


def _part(path: str) -> Callable[[Any], Any]:
    """Takes a result to one of its parts: names and numbers, joined by dots."""

    def output(result: Any) -> Any:
        for name in path.split("."):
            try:
                result = result[int(name)] if name.isdigit() else _named(result, name)
            except (AttributeError, IndexError, KeyError) as error:
                names = ", ".join(map(str, result)) if isinstance(result, Mapping) else type(result).__name__
                raise InputError("--output names a part of the result", f"{path!r} of {names}", "Choose one") from error
        return result

    return output


def _named(result: Any, name: str) -> Any:
    return result[name] if isinstance(result, Mapping) and name in result else getattr(result, name)


def _read_inputs(path: str) -> Any:
    """Named arrays from .npz, or one array."""
    if Path(path).suffix != ".npz":
        return _read_array(path)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_array(path: str) -> Any:
    """An array from .npy, .npz (its only array) or .json (nested lists)."""
    readers: dict[str, Callable[[], Any]] = {
        ".npy": lambda: np.load(path, allow_pickle=False),
        ".npz": lambda: _only(np.load(path, allow_pickle=False)),
        ".json": lambda: np.array(json.loads(Path(path).read_text(encoding="utf-8"))),
    }
    suffix = Path(path).suffix
    if suffix not in readers:
        raise InputError("an array is read from .npy, .npz or .json", path, "Save it with numpy.save(path, array)")
    try:
        return readers[suffix]()
    except ValueError as error:
        raise InputError(
            "the file holds one array", f"{path}: {error}", "Save it with numpy.save(path, array)"
        ) from None


def _only(arrays: Any) -> Any:
    names = arrays.files
    if len(names) != 1:
        raise ValueError(f"arrays {', '.join(names)}")
    return arrays[names[0]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="attnmask", description="Attention masks: explain, show, audit, diagnose, convert, bench; train, generate."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = _command(commands, "explain", explain, 'attnmask explain "Hello there" --save hello.html')
    command.add_argument("text", help="a sentence; its words are the tokens")
    command.add_argument("--mask", default="causal()", metavar="EXPRESSION", help="any mask (default: causal())")
    command.add_argument("--save", metavar="FILE", help="also write .html, .svg or .txt")

    command = _command(commands, "show", show, 'attnmask show "causal() & window(3)" --q-len 8')
    command.add_argument("expression", help="a mask, for example 'causal() & padding([5, 3])'")
    command.add_argument("--q-len", type=int, default=8, metavar="N", help="queries (default: 8)")
    command.add_argument("--kv-len", type=int, metavar="N", help="keys (default: as many as queries)")
    command.add_argument("--q-start", type=int, metavar="N", help="position of the first query")
    command.add_argument("--align", choices=("start", "end"), help="instead of --q-start")
    command.add_argument("--save", metavar="FILE", help="also write .html, .svg, .png or .txt")

    _add_judges(commands)

    command = _command(
        commands, "convert", convert, "attnmask convert mask.npy --from torch.sdpa --to torch.mha --out new.npz"
    )
    command.add_argument("file", help="an array: .npy, .npz or .json")
    command.add_argument("--from", dest="source", required=True, metavar="NAME", help="the framework it was made for")
    command.add_argument("--to", dest="target", required=True, metavar="NAME", help="the framework to write it for")
    command.add_argument("--out", required=True, metavar="FILE", help="an .npz of the framework's keyword arguments")

    command = _command(commands, "bench", bench, 'attnmask bench "causal() & window(255)" --length 2048')
    command.add_argument("expression", nargs="?", help="a mask (default: causal, window, packed documents, padding)")
    command.add_argument(
        "--length", type=int, nargs="+", default=[512, 2048], metavar="N", help="queries and keys (default: 512 2048)"
    )
    command.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16 (default: float32)")
    command.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    command.add_argument(
        "--save", action="store_true", help="measure what engines cost on this processor, for every later choice of one"
    )
    _add_recipes(commands)
    return parser


def _add_judges(commands: Any) -> None:
    command = _command(commands, "audit", audit, "attnmask audit transformers:GPT2LMHeadModel --out reports")
    command.add_argument("target", help="package.module:factory, or transformers:ClassName")
    command.add_argument(
        "--allowed", metavar="EXPRESSION", help="what an output may depend on (default: what the target says)"
    )
    command.add_argument(
        "--scenarios",
        metavar="NAME",
        nargs="+",
        type=str,
        default="thorough",
        help="quick, thorough, or names of situations to try the model in (default: thorough)",
    )
    command.add_argument("--vary", metavar="NAME", help="the one input to probe (default: each that has content)")
    command.add_argument("--output", metavar="PATH", help="what of the result to check, as last_hidden_state or 0")
    command.add_argument("--inputs", metavar="FILE", help="other inputs: .npz of named arrays, or .npy or .json")
    command.add_argument("--length", type=int, metavar="N", help="positions of the probed input")
    command.add_argument("--batch", type=int, metavar="N", help="sequences at once")
    command.add_argument("--mode", choices=("eval", "train"), default="eval", help="the model's mode (default: eval)")
    command.add_argument("--out", metavar="FOLDER", help="write an HTML and a JSON report there")

    command = _command(commands, "diagnose", diagnose, "attnmask diagnose mask.npy --framework torch.mha")
    command.add_argument("file", help="an array: .npy, .npz or .json")
    command.add_argument("--framework", metavar="NAME", help="whose convention it follows (default: True = visible)")


def _add_recipes(commands: Any) -> None:
    command = _command(commands, "train", train, "attnmask train translate --data django:it --out runs/translate")
    command.add_argument("recipe", choices=recipes.names(), help="what to train")
    train_options(command)

    command = _command(commands, "generate", generate, 'attnmask generate runs/translate "This field is required."')
    generate_options(command)


def _command(commands: Any, name: str, run: Command, example: str) -> argparse.ArgumentParser:
    summary = (run.__doc__ or "").splitlines()[0]
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print JSON instead of text")
    command.set_defaults(run=run)
    return command
