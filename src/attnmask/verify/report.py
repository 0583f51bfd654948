"""What a check found, as data, text and HTML."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask import page

Bools = NDArray[np.bool_]

# What a section can come to, from the best to the worst, and how a verdict says it.
VERDICTS = {
    "none": "no leak seen",
    "rounding": "no leak seen, only rounding",
    "dead": "no influence seen: the output does not depend on the input",
    "untested": "untested: no situation could be tried",
    "nan": "no number: every output is NaN, nothing can be said",
    "noise": "not deterministic: nothing can be said",
    "blind": "sees too little: an output does not depend on what it must",
    "leak": "leak",
}
GOOD = ("none", "rounding")
SHOWN_LEAKS = 8
SHOWN_LETTERS = 160


def in_a_line(error: Exception) -> str:
    """An exception as a report says it: its kind and its first line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:SHOWN_LETTERS]}"


class Leak(NamedTuple):
    """An output row that depends on a position it must not depend on.

    ``change``: how far the output moved when the position was replaced; ``slope``: the largest derivative, None where no
    derivative was taken; ``source``: the other sequence of the batch that it comes from, if it does.
    """

    query: int
    key: int
    change: float
    slope: float | None
    sequence: int = 0
    source: int | None = None

    def __str__(self) -> str:
        place = f"key {self.key}" if self.source is None else f"sequence {self.source} of the batch"
        gradient = "no gradient taken" if self.slope is None else f"gradient {self.slope:.1e}"
        return f"query {self.query} depends on {place} (change {self.change:.1e}, {gradient})"


class Tried(NamedTuple):
    """A situation that a model was tried in, or could not be: its outcome, or ``"untested"`` and why."""

    name: str
    outcome: str
    why: str = ""


@dataclass(frozen=True)
class Section:
    """One scenario of a check: what was allowed, what was tried, what was seen."""

    name: str
    allowed: str
    tests: int
    outcome: str
    largest_forbidden: float
    largest_allowed: float
    leaks: tuple[Leak, ...]
    module: str | None
    observed: str | None
    allowed_cells: Bools
    seen_cells: Bools
    real_rows: Bools
    notes: tuple[str, ...]
    missing: tuple[tuple[int, int], ...] = ()  # pairs without the influence that they must have

    @property
    def cells(self) -> list[list[str]]:
        """Per pair: visible (allowed and used), partial (allowed, no influence), hidden, or leak."""
        forbidden = ~self.allowed_cells & self.real_rows[:, None]
        kinds = np.where(self.seen_cells & self.real_rows[:, None], "visible", "partial")
        kinds = np.where(self.allowed_cells & self.real_rows[:, None], kinds, "hidden")
        return np.where(forbidden & self.seen_cells, "leak", kinds).tolist()  # type: ignore[no-any-return]

    def lines(self) -> list[str]:
        """The section as text."""
        head = f"{self.name}: {VERDICTS[self.outcome]}"
        facts = [
            f"  allowed: {self.allowed}",
            f"  {self.tests} forbidden regions replaced; largest forbidden change {self.largest_forbidden:.1e}, "
            f"allowed {self.largest_allowed:.1e}",
        ]
        if self.observed:
            facts.append(f"  the whole model lets through: {self.observed}")
        if self.module:
            facts.append(f"  first module that leaks: {self.module}")
        faults = [str(leak) for leak in self.leaks]
        faults += [f"query {query} does not depend on key {key}" for query, key in self.missing]
        facts += [f"  ! {fault}" for fault in faults[:SHOWN_LEAKS]]
        if len(faults) > SHOWN_LEAKS:
            facts.append(f"  ! and {len(faults) - SHOWN_LEAKS} more pairs")
        return [head, *facts, *(f"  note: {note}" for note in self.notes)]

    def as_json(self) -> dict[str, Any]:
        """The section as plain data."""
        return {
            "name": self.name,
            "verdict": VERDICTS[self.outcome],
            "allowed": self.allowed,
            "tests": self.tests,
            "largest_forbidden_change": self.largest_forbidden,
            "largest_allowed_change": self.largest_allowed,
            "observed": self.observed,
            "first_leaking_module": self.module,
            "leaks": [leak._asdict() for leak in self.leaks],
            "missing": [list(pair) for pair in self.missing],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Report:
    """The result of ``attnmask.check``."""

    model: str
    allowed: str
    vary: str
    sections: tuple[Section, ...]
    tried: tuple[Tried, ...] = ()
    notes: tuple[str, ...] = ()  # about the model as a whole

    @property
    def outcomes(self) -> list[str]:
        """What every situation came to that was tried."""
        told = [section.outcome for section in self.sections] + [one.outcome for one in self.tried]
        return [outcome for outcome in told if outcome != "untested"] or ["untested"]

    @property
    def ok(self) -> bool:
        """Whether something was tried, could be judged, and no situation leaked."""
        return all(outcome in GOOD for outcome in self.outcomes)

    @property
    def verdict(self) -> str:
        """The verdict of the worst situation."""
        return VERDICTS[max(self.outcomes, key=list(VERDICTS).index)]

    @property
    def leaks(self) -> list[Leak]:
        """All leaks, those of the first leaking scenario first; each scenario's by query, then key."""
        return [leak for section in self.sections for leak in section.leaks]

    @property
    def module(self) -> str | None:
        """The first module that leaks, in the first scenario that does."""
        return next((section.module for section in self.sections if section.module), None)

    def text(self) -> str:
        """The report for a terminal."""
        head = f"{self.model}, varying {self.vary}, allowed {self.allowed}: {self.verdict.upper()}"
        lines = [line for section in self.sections for line in section.lines()]
        return "\n".join([head, *("  " + line for line in [*lines, *self._about_tried()])])

    def _about_tried(self) -> list[str]:
        """What else was tried without a finding, and what could not be."""
        told = {section.name for section in self.sections}
        rest = [one.name for one in self.tried if one.outcome in GOOD and one.name not in told]
        untested: dict[str, list[str]] = {}
        for one in self.tried:
            if one.outcome == "untested":
                untested.setdefault(one.why, []).append(one.name)
        lines = [f"not tried: {', '.join(names)}: {why}" for why, names in untested.items()]
        also = [f"also tried, no leak seen: {', '.join(rest)}"] if rest else []
        return [*(f"note: {note}" for note in self.notes), *also, *lines]

    def __repr__(self) -> str:
        return self.text()

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "model": self.model,
            "vary": self.vary,
            "allowed": self.allowed,
            "ok": self.ok,
            "verdict": self.verdict,
            "first_leaking_module": self.module,
            "sections": [section.as_json() for section in self.sections],
            "tried": [one._asdict() for one in self.tried],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """The report as JSON text."""
        return json.dumps(self.as_json(), indent=2)

    def html(self) -> str:
        """The report as one self-contained page."""
        return page.page(f"{self.model}: {self.verdict}", self.body())

    def body(self) -> str:
        """The report as part of a page."""
        notes = "".join(f"<p>{page.escape(line)}</p>" for line in self._about_tried())
        return "\n".join([*(_section_html(self, section) for section in self.sections), notes])


LEGEND = "filled: allowed and used; half: allowed, no influence; hatched: forbidden, no influence; crossed red: a leak"


def _section_html(report: Report, section: Section) -> str:
    rows, columns = ([str(place) for place in range(size)] for size in section.allowed_cells.shape)
    picture = page.grid_svg(section.cells, rows, columns, title=f"{section.name}: who depends on whom")
    facts = "".join(f"<li>{page.escape(line.strip())}</li>" for line in section.lines()[1:])
    legend = f"<p><small>Rows: output positions. Columns: {page.escape(report.vary)}. {LEGEND}.</small></p>"
    return page.section(f"{section.name}: {VERDICTS[section.outcome]}", f"<ul>{facts}</ul>\n{picture}\n{legend}")
