"""``Session``: a model under check, and what the files of ``checks/`` ask of it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.errors import InputError
from attnmask.exchange.common import visible_of_bool_or_bias
from attnmask.verify import checks
from attnmask.verify.judging.case import Bools, Case, case
from attnmask.verify.judging.judge import judged
from attnmask.verify.report import Leak, Section, in_a_line
from attnmask.verify.subjects.inputs import PADDING_INPUTS, PADDING_NAMES
from attnmask.verify.subjects.subject import Subject

LEVELS = ("quick", "thorough")
MAIN = ("as given", "padding")  # always shown, also without a finding


class Skipped(NamedTuple):
    """A situation that could not be tried, and why."""

    name: str
    why: str


Found = Section | Skipped


@dataclass(frozen=True)
class Session:
    """A subject, what its outputs may depend on, and how it is told.

    Attributes:
        subject: the model with its inputs.
        allowed: what each output may depend on.
        seed: of all random content.
        say: is told what is done next.
        lengths: those to be tried; None for those that follow from the inputs.
        padding: the name of the padding mask among the inputs; None to know it by its name.
        frame: how outputs and positions are aligned, where there are not as many of both.
        must_see: what each output must depend on, if anything is said.
    """

    subject: Subject
    allowed: Mask
    seed: int
    say: Callable[[str], None]
    lengths: tuple[int, ...] | None = None
    padding: str | None = None
    frame: Frame | None = None
    must_see: Mask | None = None

    def judge(self, name: str, subject: Subject | None = None, **options: Any) -> Section:
        """The section of one case: the first sequence, all of it real, unless it is said otherwise."""
        how = {key: options.pop(key) for key in ("derived", "together", "most") if key in options}
        return judged(self.case(name, subject, **options), self.say, **how)

    def compared(
        self,
        name: str,
        leaks: Sequence[Leak],
        *,
        tests: int,
        allowed: str = "",
        module: str | None = None,
        note: str = "",
    ) -> Section:
        """The section of outputs that were compared with each other; ``note`` says what it means if they differ."""
        case = self.case(name)
        return Section(
            name=name,
            allowed=allowed or str(case.mask),
            tests=tests,
            outcome="leak" if leaks else "none",
            largest_forbidden=max((leak.change for leak in leaks), default=0.0),
            largest_allowed=0.0,
            leaks=tuple(leaks),
            module=module,
            observed=None,
            allowed_cells=case.allowed,
            seen_cells=np.zeros_like(case.allowed),
            real_rows=case.real,
            notes=(note,) if leaks and note else (),
        )

    def case(self, name: str, subject: Subject | None = None, **options: Any) -> Case:
        """A case of this session."""
        return case(name, subject or self.subject, self.allowed, seed=self.seed, frame=self.frame, **options)

    @property
    def padding_input(self) -> tuple[str | None, bool]:
        """The model's padding mask for the varied input, and whether its 1 means a real token."""
        if self.padding is not None:
            return self.padding, "pad" not in self.padding
        known = getattr(self.subject, "parameters", frozenset()) | frozenset(self.subject.inputs)
        known -= self.subject.arrays.keys() - {*self.masks, self.subject.vary}  # a mask of pairs by the same name
        names = PADDING_INPUTS.get(self.subject.vary, {})
        found = next(((name, real) for name, real in names.items() if name in known), None)
        return found or next(((name, real) for name, real in PADDING_NAMES.items() if name in self.masks), (None, True))

    @property
    def masks(self) -> list[str]:
        """The inputs beside the varied one that have one truth value, or number, for each position."""
        shape = (self.subject.batch, self.subject.length)
        return [
            name for name, array in self.subject.arrays.items() if name != self.subject.vary and array.shape == shape
        ]

    def valid(self, sequence: int) -> Bools:
        """Which positions of a sequence are real, by the padding mask among the inputs."""
        name, real_is_true = self.padding_input
        given = self.subject.arrays.get(name) if name else None
        if given is None:
            return np.ones(self.subject.length, bool)
        return _real(given[sequence], name or "", real_is_true)

    def mask_of(self, valid: Bools) -> NDArray[Any]:
        """The padding mask, in the model's own polarity, that says which positions are real (batch, length)."""
        return valid.astype(np.int64) if self.padding_input[1] else ~valid

    def padded(self, subject: Subject, valid: Bools) -> Subject:
        """A subject whose padding mask says for all sequences which positions (length,) are real."""
        rows = np.repeat(valid[None], subject.batch, axis=0)
        return subject.with_inputs(**{str(self.padding_input[0]): self.mask_of(rows)})


def _real(given: NDArray[Any], name: str, real_is_true: bool) -> Bools:
    """Which positions a padding mask says are real; where 1 would mean padding, floats are added to the scores instead."""
    if not real_is_true and given.dtype.kind == "f":
        return visible_of_bool_or_bias(given, f"a {name}")
    return np.asarray((given != 0) == real_is_true)


@cache
def scenarios() -> dict[str, ModuleType]:
    """The files of ``checks/`` that say in which situations a model is tried, by name; those always shown come first."""
    names = [module.name for module in pkgutil.iter_modules(checks.__path__)]
    files = [importlib.import_module(f"{checks.__name__}.{name}") for name in names]
    found = {file.NAME: file for file in files if hasattr(file, "sections")}
    first = (*MAIN, "state", "without pads")  # a model that remembers looks as if it did anything
    return dict(
        sorted(found.items(), key=lambda item: (first.index(item[0]) if item[0] in first else len(first), item[0]))
    )


def chosen(asked: Any) -> list[ModuleType]:
    """The files for a level, or for some names."""
    if isinstance(asked, list) and len(asked) == 1 and asked[0] in LEVELS:
        asked = asked[0]
    if asked in LEVELS:
        return [file for file in scenarios().values() if LEVELS.index(file.LEVEL) <= LEVELS.index(asked)]
    names = [asked] if isinstance(asked, str) else list(asked)
    unknown = [name for name in names if name not in scenarios()]
    if unknown or not names:
        raise InputError(
            f"scenarios are 'quick', 'thorough', or some of {', '.join(scenarios())}",
            repr(asked),
            "Write scenarios='thorough', or scenarios=['lengths', 'batch']",
        )
    return [scenarios()[name] for name in names]


def run(session: Session, file: ModuleType) -> Iterator[Found]:
    """What a file finds; where the model does not run in its situation, why."""
    try:
        yield from file.sections(session)
    except Exception as error:  # a model raises what it likes where it does not take an input
        if file.NAME in MAIN:
            raise
        yield Skipped(file.NAME, f"the model, or the allowed mask, does not take it ({in_a_line(error)})")
