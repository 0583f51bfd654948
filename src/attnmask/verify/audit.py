"""``audit``: the masks that a model really uses, and whether anything leaks; what ``attnmask audit TARGET`` runs."""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnmask import page
from attnmask.define.mask import Mask
from attnmask.define.text.parse import given
from attnmask.errors import AttnmaskError, InputError, TargetError
from attnmask.verify.calls import Log
from attnmask.verify.check import check
from attnmask.verify.progress import Progress, teller
from attnmask.verify.record import record
from attnmask.verify.report import Report
from attnmask.verify.subjects.arrays import library_of
from attnmask.verify.target import Target, load, with_relation, with_sizes


@dataclass(frozen=True)
class Audit:
    """The calls recorded and the checks made for one target."""

    target: str
    model: str
    logs: dict[str, Log]  # by scenario
    reports: tuple[Report, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(report.ok for report in self.reports)

    @property
    def verdict(self) -> str:
        """The verdict of the first check that failed, or of the first one."""
        return next((report.verdict for report in self.reports if not report.ok), self.reports[0].verdict)

    def masks(self) -> list[tuple[str, str, str, list[str]]]:
        """Per scenario and mask: (scenario, mask, API, the modules that used it)."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for scenario, log in self.logs.items():
            for call in log.calls:
                found.setdefault((scenario, call.name, call.api), []).append(call.module)
        return [(*key, modules) for key, modules in found.items()]

    def text(self) -> str:
        """The audit for a terminal."""
        lines = [f"{self.target} ({self.model}): {self.verdict.upper()}", "masks found:"]
        lines += [f"  {line}" for line in self._mask_lines()]
        return "\n".join([*lines, *(report.text() for report in self.reports)])

    def _mask_lines(self) -> Iterator[str]:
        for scenario, mask, api, modules in self.masks():
            calls = f"{len(modules)} calls" if len(modules) > 1 else "1 call"
            yield f"{scenario}: {mask}  [{calls} via {api}: {', '.join(_folded(modules))}]"
        if not any(log.calls for log in self.logs.values()):
            yield "none: no attention call that torch executes was seen"
        for finding in self._findings():
            yield f"! {finding}"

    def _findings(self) -> list[str]:
        found = [str(finding) for log in self.logs.values() for call in log.calls for finding in call.findings]
        return list(dict.fromkeys(found))

    def as_json(self) -> dict[str, Any]:
        """The audit as plain data."""
        masks = [
            {"scenario": scenario, "mask": mask, "api": api, "modules": modules}
            for scenario, mask, api, modules in self.masks()
        ]
        return {
            "target": self.target,
            "model": self.model,
            "ok": self.ok,
            "verdict": self.verdict,
            "masks": masks,
            "findings": self._findings(),
            "checks": [report.as_json() for report in self.reports],
        }

    def html(self) -> str:
        """The audit as one self-contained page."""
        rows = [(scenario, mask, api, ", ".join(modules)) for scenario, mask, api, modules in self.masks()]
        table = page.table_html(("inputs", "mask that was used", "through", "modules"), rows)
        notes = "".join(f"<p>{page.escape(finding)}</p>" for finding in self._findings())
        checks = "\n".join(
            f"<h2>{page.escape(report.vary)} may reach: {page.escape(report.allowed)}</h2>\n{report.body()}"
            for report in self.reports
        )
        return page.page(f"{self.target}: {self.verdict}", f"{page.section('Masks found', table + notes)}\n{checks}")

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``<target>.html`` and ``<target>.json`` into a folder; both texts are made before either is written."""
        stem = re.sub(r"[^A-Za-z0-9]+", "-", self.target).strip("-")
        texts = {f"{stem}.html": self.html(), f"{stem}.json": json.dumps(self.as_json(), indent=2)}
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder / name for name in texts]


def must_take_files(folder: str | Path) -> None:
    """Refuse a folder into which nothing can be written, before the work is done; nothing is made or left there."""
    there = next(part for part in (Path(folder), *Path(folder).parents) if part.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(
            "reports are written into a folder that takes files",
            f"{folder} ({there}: {error.strerror})",
            "Choose another one",
        ) from error


def audit(
    target: str,
    *,
    allowed: Mask | str | None = None,
    scenarios: str | Sequence[str] = "thorough",
    vary: str | None = None,
    output: Callable[[Any], Any] | None = None,
    inputs: Any = None,
    length: int | None = None,
    batch: int | None = None,
    mode: str = "eval",
    progress: Progress | bool | None = None,
) -> Audit:
    """Load a target, record the masks that it uses, and check what reaches what.

    >>> import attnmask as am
    >>> found = am.audit("transformers:GPT2LMHeadModel", scenarios=["as given"])
    >>> found.verdict
    'no leak seen'
    >>> found.masks()[0][:3]
    ('as given', 'causal()', 'torch.sdpa')

    Args:
        target: ``package.module:factory`` or ``transformers:ClassName``.
        allowed: what each output row may depend on; by default what the target says (a decoder: ``causal()``).
        scenarios: as in ``check``; an audit is thorough by default.
        vary: the one input that is probed; by default each that the target names.
        output: takes the model's result to the array (batch, rows, ...) that is checked.
        inputs: other inputs than those of the target.
        length: the number of positions; inputs are cut, or continued by random content.
        batch: the number of sequences.
        mode: ``"eval"`` or ``"train"``.
        progress: as in ``check``.

    Raises:
        TargetError: the target cannot be loaded, or does not run.
        InputError: an option does not fit it.
    """
    say = teller(progress)
    say(f"loading {target}")
    loaded = load(target)
    loaded = loaded if inputs is None else loaded._replace(inputs=_for(loaded.model, inputs))
    loaded = with_relation(loaded, vary, None if allowed is None else given(allowed), output)
    try:
        loaded = with_sizes(loaded, length, batch)
        say("recording its attention calls")
        logs = {name: _recorded(loaded.model, inputs, mode) for name, inputs in _scenarios(loaded)}
        reports = tuple(
            check(
                loaded.model,
                loaded.inputs,
                allowed=relation.allowed,
                scenarios=scenarios,
                vary=name,
                mode=mode,
                progress=say,
                **relation.options,
            )
            for name, relation in loaded.relations.items()
        )
    except AttnmaskError:
        raise
    except Exception as error:  # anything can go wrong in a user's model
        raise TargetError(
            "the model runs on its inputs and on batches of variants of them",
            f"{target!r}: {type(error).__name__}: {str(error)[:300]}",
            "Let the factory return (model, inputs) with inputs that fit",
        ) from error
    return Audit(target, type(loaded.model).__name__, logs, reports)


def _for(model: Any, inputs: Any) -> Any:
    """Inputs in the library of a model."""
    if library_of(model, inputs) != "torch":
        return inputs
    from attnmask.verify.torch.modules import in_torch

    return in_torch(model, inputs)


def _recorded(model: Any, inputs: Any, mode: str) -> Log:
    """The calls of one run in a mode, in which the model is only meanwhile."""
    call: Callable[[], Any] = (lambda: model(**inputs)) if isinstance(inputs, Mapping) else (lambda: model(inputs))
    training, asked = getattr(model, "training", None), mode == "train"
    if training not in (None, asked):
        model.train(asked)
    try:
        with record(model) as log:
            call()
    finally:
        if training not in (None, asked):
            model.train(training)
    return log


def _scenarios(subject: Target) -> Iterator[tuple[str, Any]]:
    """The inputs as given, and with the last third of the main input padded where the model takes a padding mask."""
    yield "as given", subject.inputs
    ids = subject.inputs.get("input_ids") if isinstance(subject.inputs, Mapping) else None
    known = inspect.signature(getattr(subject.model, "forward", subject.model)).parameters
    if ids is not None and "attention_mask" in known and "attention_mask" not in subject.inputs:
        valid = ids.new_ones(ids.shape)
        valid[:, ids.shape[1] - ids.shape[1] // 3 :] = 0
        yield "right padding", {**subject.inputs, "attention_mask": valid}


def _folded(modules: list[str]) -> list[str]:
    """Module names with layer numbers folded: h.0.attn, h.1.attn -> h.*.attn."""
    return list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) or "(model)" for name in modules))
