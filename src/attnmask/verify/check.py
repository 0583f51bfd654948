"""``check``: does anything reach an output that the allowed mask forbids?

For each scenario (the inputs as given; then with padding on the right and on the left, where the model takes a padding
mask) three things are measured on a copy of the model:

1. *perturbation*: what a query must not see is replaced, and its output must not change by a single bit;
2. *gradients* of random combinations of each output row, which must be exactly zero at forbidden positions;
3. *life*: replacing everything must change every row, so that silence means something.

Changes that vanish in float64 are rounding, not leaks. A leak is located: query, key, and the first module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.define.masks.padding import padding
from attnmask.define.text.parse import given
from attnmask.errors import InputError
from attnmask.exchange.common import visible_of_bool_or_bias
from attnmask.exchange.recognition.recognize import recognize
from attnmask.verify import probe
from attnmask.verify.report import Leak, Report, Section
from attnmask.verify.subject import PADDING_INPUTS, Subject

Bools = NDArray[np.bool_]
Progress = Callable[[str], None]

ROUNDING = 1e-5  # a change that shrinks to this share of itself in float64 is rounding


class Scenario(NamedTuple):
    """One way to run the model: its inputs, what may be seen, and which rows are real."""

    name: str
    subject: Subject
    allowed: Bools  # (rows, kv_len)
    real: Bools  # (rows,)
    mask: Mask
    row: int


def check(
    model: Any,
    inputs: Any,
    *,
    allowed: Mask | str | None = None,
    vary: str | None = None,
    output: Callable[[Any], Any] | None = None,
    fresh_weights: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Check that no output of a model depends on anything that a mask forbids.

    >>> import numpy as np
    >>> import attnmask as am
    >>> am.check(lambda x: np.cumsum(x, axis=1), np.ones((1, 6, 4))).verdict
    'no leak seen'
    >>> report = am.check(lambda x: x + x.mean(1, keepdims=True), np.ones((1, 6, 4)))
    >>> report.verdict, report.leaks[0].query, report.leaks[0].key
    ('leak', 0, 1)

    Args:
        model: a torch module (a copy of it is checked, in eval mode), or any function of arrays.
        inputs: token ids (batch, length), embeddings (batch, length, dim), or a dict of named inputs. A padding mask
            among them joins the allowed mask.
        allowed: what each output row may depend on, by default ``causal()``.
        vary: which named input is probed; by default the decoder's ids, else the main input.
        output: takes the model's result to the array (batch, rows, ...) that is checked.
        fresh_weights: give the copy random weights, so that zero-initialised gates and tiny weights hide no path.
        seed: of everything random.
        progress: called with a sentence at the start of each step.

    Returns:
        A report: ``.ok``, ``.verdict``, ``.leaks``, ``.text()``, ``.html()``, ``.to_json()``.
    """
    allowed = causal() if allowed is None else given(allowed)
    say = progress or (lambda sentence: None)
    subject = _subject(model, inputs, vary, output, fresh_weights, seed)
    sections = tuple(_section(scenario, seed, say) for scenario in _scenarios(subject, allowed))
    return Report(type(model).__name__, str(allowed), subject.vary, sections)


def _subject(model: Any, inputs: Any, vary: str | None, output: Any, fresh_weights: bool, seed: int) -> Subject:
    if hasattr(model, "named_parameters"):  # a torch module, so torch is there
        from attnmask.verify.torch.subject import TorchSubject

        return TorchSubject(model, inputs, vary, output, fresh_weights=fresh_weights, seed=seed)
    if not callable(model):
        raise InputError("a model is a torch module or a function", type(model).__name__, "Give the module itself")
    return Subject(model, inputs, vary, output)


def _scenarios(subject: Subject, allowed: Mask) -> Iterator[Scenario]:
    rows = subject.run(subject.copies(0, 1)).shape[1]
    name, real_is_true = _padding_input(subject)
    padded = subject.arrays.get(name) if name else None
    for row in range(subject.batch):
        valid = np.ones(subject.length, bool) if padded is None else _real(padded[row], name or "", real_is_true)
        label = "as given" if subject.batch == 1 else f"sequence {row}, as given"
        yield _scenario(label, subject, allowed, valid, rows, row)
    if name and padded is None:
        yield from _padded(subject, allowed, name, real_is_true, rows)


def _real(given: NDArray[Any], name: str, real_is_true: bool) -> Bools:
    """Which positions a padding mask says are real; where 1 would mean padding, floats are added to the scores instead."""
    if not real_is_true and given.dtype.kind == "f":
        return visible_of_bool_or_bias(given, f"a {name}")
    return np.asarray((given != 0) == real_is_true)


def _padding_input(subject: Subject) -> tuple[str | None, bool]:
    """The model's padding mask for the varied input, and whether its 1 means a real token."""
    known = getattr(subject, "parameters", frozenset(subject.inputs))
    names = PADDING_INPUTS.get(subject.vary, {})
    return next(((name, real) for name, real in names.items() if name in known), (None, True))


def _padded(subject: Subject, allowed: Mask, name: str, real_is_true: bool, rows: int) -> Iterator[Scenario]:
    pads = max(1, subject.length // 3)
    positions = np.arange(subject.length)
    for side, valid in (("right", positions < subject.length - pads), ("left", positions >= pads)):
        array = np.repeat((valid if real_is_true else ~valid)[None], subject.batch, axis=0)
        padded = subject.with_inputs(**{name: array.astype(np.int64) if real_is_true else array})
        yield _scenario(f"{pads} {side} pads", padded, allowed, valid, rows, 0)


def _scenario(name: str, subject: Subject, allowed: Mask, valid: Bools, rows: int, row: int) -> Scenario:
    mask = _with_padding(allowed, valid)
    start = 0 if rows == subject.length else None
    dense = mask.dense(Frame(rows, subject.length, q_start=start))
    real = valid if rows == subject.length else np.ones(rows, bool)
    return Scenario(name, subject, dense[row if dense.shape[0] > 1 else 0, 0], real, mask, row)


def _with_padding(allowed: Mask, valid: Bools) -> Mask:
    if valid.all():
        return allowed
    every_row = np.broadcast_to(valid, (len(valid), len(valid)))  # of one row alone, causal() could be the name
    pads = recognize(every_row) if valid.any() else padding(valid=valid)
    return pads if allowed == everything() else allowed & pads


def _section(scenario: Scenario, seed: int, say: Progress) -> Section:
    subject, row = scenario.subject, scenario.row
    tests = probe.tests_of(scenario.allowed, scenario.real)
    say(f"{scenario.name}: {len(tests.replaced)} forbidden regions at {subject.length} positions")
    changes = probe.influence(subject, row, tests.replaced, seed) * tests.rows if len(tests.rows) else np.zeros((0, 0))
    everything = np.ones((1, subject.length), bool)
    alive = probe.influence(subject, row, everything, seed)[0]
    say(f"{scenario.name}: gradients of {len(scenario.allowed)} output rows")
    gradients = subject.gradients(row, seed) if hasattr(subject, "gradients") else None
    forbidden = ~scenario.allowed & scenario.real[:, None]
    suspicious = bool((changes > 0).any()) or (gradients is not None and bool((gradients[forbidden] > 0).any()))
    kind, notes = _judge(scenario, tests, changes, gradients, seed) if suspicious else ("none", [])
    leaks, module = _locate(scenario, tests, changes, gradients, seed) if kind == "leak" else ((), None)
    if kind == "none" and not (alive[scenario.real & scenario.allowed.any(1)] > 0).all():
        kind = "dead"
    if gradients is None:
        notes.append("no gradients: the function is not differentiable from its inputs; only perturbation was used")
    return Section(
        name=scenario.name,
        allowed=str(scenario.mask),
        tests=len(tests.replaced),
        outcome=kind,
        largest_forbidden=float(changes.max(initial=0.0)),
        largest_allowed=float(alive.max()),
        leaks=leaks,
        module=module,
        observed=_observed(gradients) if scenario.real.all() else None,
        allowed_cells=scenario.allowed,
        seen_cells=_seen(gradients, leaks, scenario.allowed.shape),
        real_rows=scenario.real,
        notes=tuple(notes),
    )


def _judge(scenario: Scenario, tests: probe.Tests, changes: Any, gradients: Any, seed: int) -> tuple[str, list[str]]:
    """Tell leaks from rounding and from models that are not deterministic."""
    subject, row = scenario.subject, scenario.row
    floor = probe.noise(subject, row, max(1, min(len(tests.replaced), probe.COPIES)))
    largest = float(changes.max(initial=0.0))
    if floor > 0 and largest <= 10 * floor:
        return "noise", [f"two equal runs differ by {floor:.1e}: the model is not deterministic, nothing can be said"]
    if not hasattr(subject, "in_double"):
        return "leak", []
    try:
        exact = subject.in_double()
        forbidden = ~scenario.allowed & scenario.real[:, None]
        again = float((probe.influence(exact, row, tests.replaced, seed) * tests.rows).max(initial=0.0))
        again_gradient = exact.gradients(row, seed)
    except RuntimeError as error:  # a kernel without float64
        return "leak", [f"float64 could not be tried: {str(error).splitlines()[0][:120]}"]
    strongest = float(gradients[forbidden].max(initial=0.0)) if gradients is not None else 0.0
    still = float(again_gradient[forbidden].max(initial=0.0)) if again_gradient is not None else 0.0
    if again <= ROUNDING * largest and still <= ROUNDING * strongest:
        return "rounding", [
            f"forbidden changes of {largest:.1e} shrink to {again:.1e} in float64: rounding, not a leak"
        ]
    return "leak", []


def _locate(
    scenario: Scenario, tests: probe.Tests, changes: Any, gradients: Any, seed: int
) -> tuple[tuple[Leak, ...], str | None]:
    """Every forbidden pair with an influence, first query first, and the module that leaks first."""
    subject, row = scenario.subject, scenario.row
    forbidden = ~scenario.allowed & scenario.real[:, None]
    alone = probe.each_alone(subject, row, seed) * forbidden
    slopes = gradients * forbidden if gradients is not None else np.zeros_like(alone)
    pairs = [
        Leak(int(query), int(key), float(alone[query, key]), float(slopes[query, key]), row)
        for query, key in np.argwhere((alone > 0) | (slopes > 0))
    ]
    if not pairs:  # only replacing several positions together shows: a routing or counting leak
        test, query = np.argwhere(changes > 0)[np.argmin(np.argwhere(changes > 0)[:, 1])]
        key = int(np.flatnonzero(tests.replaced[test])[0])
        pairs = [Leak(int(query), key, float(changes[test, query]), 0.0, row)]
    module = None
    if hasattr(subject, "first_change"):
        module = subject.first_change(row, forbidden[pairs[0].query], pairs[0].query, seed)
    return tuple(pairs), module


def _observed(gradients: Any) -> str | None:
    """What the whole model lets through, in notation; None where it is no simple mask."""
    if gradients is None:
        return None
    name = str(recognize(gradients > 0))
    return None if "table" in name else name


def _seen(gradients: Any, leaks: tuple[Leak, ...], shape: tuple[int, ...]) -> Bools:
    seen: Bools = gradients > 0 if gradients is not None else np.zeros(shape, bool)
    for leak in leaks:
        seen[leak.query, leak.key] = True
    return seen
