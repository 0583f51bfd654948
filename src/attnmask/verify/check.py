"""``check``: does anything reach an output that the allowed mask forbids?

A copy of the model is tried in situations (``checks/``): the call as it is given; padding on either side; other lengths, other
sequences in the batch, training mode, a sequence that ends earlier, a call after another call. In each of them

1. *perturbation*: what a query must not see is replaced, and its output must not change by a single bit;
2. *gradients* of random combinations of outputs must be exactly zero at forbidden positions;
3. *life*: replacing everything must change outputs, so that silence means something;
4. what is about as small as *rounding* is judged by how it changes with the number format and with what is put in.

A leak is located: query, key, and the first module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.text.parse import given
from attnmask.errors import AttnmaskError, InputError
from attnmask.verify.arrange import arranged, as_asked, doubts
from attnmask.verify.checks import perturbation
from attnmask.verify.judging.case import case
from attnmask.verify.progress import Progress, teller
from attnmask.verify.report import GOOD, VERDICTS, Report, Section, Tried
from attnmask.verify.session import MAIN, Found, Session, Skipped, chosen, run
from attnmask.verify.subjects.arrays import library_of
from attnmask.verify.subjects.layout import asked
from attnmask.verify.subjects.subject import Subject

AT_FIRST_SIGHT = 6  # tests
Axes = tuple[int | None, int | tuple[int, ...] | None]  # of the batch, and of positions


def check(
    model: Any,
    inputs: Any,
    *,
    allowed: Mask | str | None = None,
    scenarios: str | Sequence[str] = "quick",
    vary: str | Sequence[str] | None = None,
    output: Callable[[Any], Any] | None = None,
    frame: Frame | None = None,
    must_see: Mask | str | None = None,
    batch_axis: int | None = None,
    length_axis: int | tuple[int, ...] | None = None,
    lengths: Sequence[int] | None = None,
    padding: str | None = None,
    mode: str = "eval",
    fresh_weights: bool = True,
    seed: int = 0,
    progress: Progress | bool | None = None,
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
        inputs: token ids (batch, length), embeddings (batch, length, dim), signals (batch, length), images (batch,
            channels, rows, columns), or a dict of named inputs. A padding mask among them joins the allowed mask.
        allowed: what each output row may depend on, by default ``causal()``; a mask or its notation.
        scenarios: ``"quick"``, ``"thorough"``, or names of situations; ``Report.tried`` lists what was tried.
        vary: which named input is probed; by default the decoder's ids, else the main input. Of several names, all are
            changed at the same positions.
        output: takes the model's result to the array (batch, rows, ...) that is checked.
        frame: where outputs are not as many as positions, how they are aligned: ``Frame(outputs, positions, q_start=0)``.
        must_see: what each output must depend on, such as ``everything()`` for an encoder that must not turn causal.
        batch_axis: the axis that counts sequences; by default found out, the first where nothing speaks against it.
        length_axis: the axis of positions, or the axes, as (2, 3) for the pixels of images.
        lengths: the lengths to try, instead of those near the given one.
        padding: the name of the padding mask among the inputs, if it is not known by its name; 1 means a real token, or
            padding where the name says "pad".
        mode: ``"eval"``, or ``"train"`` to try every situation in training mode.
        fresh_weights: give the copy random weights, so that zero-initialised gates and tiny weights hide no path.
        seed: of everything random.
        progress: called with a sentence at the start of each step; by default sentences are printed if the standard
            error is a terminal, with True always, with False never.

    Returns:
        A report: ``.ok``, ``.verdict``, ``.leaks``, ``.text()``, ``.html()``, ``.to_json()``.

    Raises:
        InputError: the inputs, the output or the scenarios do not fit.
    """
    allowed = causal() if allowed is None else given(allowed)
    files = chosen(scenarios)
    subject = _in_mode(_subject(model, inputs, vary, output, fresh_weights, seed), mode)

    def leaks(other: Subject) -> bool:
        try:
            seen = case("", other, allowed, seed=seed, frame=frame)
        except AttnmaskError:  # a mask of a table, say, does not fit as many positions
            return True
        return perturbation.evidence(seen, AT_FIRST_SIGHT).largest > 0

    subject, notes = _arranged(subject, (batch_axis, length_axis), leaks, seed)
    _check_frame(frame, subject)
    session = Session(
        subject,
        allowed,
        seed,
        teller(progress),
        lengths=None if lengths is None else tuple(lengths),
        padding=padding,
        frame=frame,
        must_see=None if must_see is None else given(must_see),
    )
    sections: list[Section] = []
    tried: list[Tried] = []
    for file in files:
        if file.NAME not in MAIN and not all(section.outcome in GOOD for section in sections):
            tried.append(Tried(file.NAME, "untested", "what was tried before must be mended first"))
            continue
        for found in run(session, file):
            tried.append(_tried(found, of_itself=file.NAME in MAIN))
            if isinstance(found, Section) and (file.NAME in MAIN or tried[-1].outcome not in (*GOOD, "untested")):
                sections.append(found)
    if (batch_axis, length_axis) == (None, None) and any(section.outcome == "leak" for section in sections):
        notes += doubts(subject, leaks, seed)
    return Report(type(model).__name__, str(allowed), subject.vary, tuple(sections), tuple(tried), tuple(notes))


def _tried(found: Found, *, of_itself: bool) -> Tried:
    """What there is to say of a situation: one that is varied, and in which outputs are no numbers, is not tried."""
    if isinstance(found, Skipped):
        return Tried(found.name, "untested", found.why)
    if found.outcome in ("nan", "dead", "noise") and not of_itself:
        return Tried(found.name, "untested", VERDICTS[found.outcome])
    return Tried(found.name, found.outcome, found.notes[0] if found.notes else "")


def _subject(
    model: Any, inputs: Any, vary: str | Sequence[str] | None, output: Any, fresh_weights: bool, seed: int
) -> Subject:
    if not callable(model):
        raise InputError("a model is a module or a function", type(model).__name__, "Give the module itself")
    library = library_of(model, inputs)
    if library == "torch":
        from attnmask.verify.torch.subject import TorchSubject

        return TorchSubject(model, inputs, vary, output, fresh_weights=fresh_weights, seed=seed)
    if library == "jax":
        from attnmask.verify.jax.subject import JaxSubject

        return JaxSubject(model, inputs, vary, output)
    return Subject(model, inputs, vary, output)


def _in_mode(subject: Subject, mode: str) -> Subject:
    if mode == "eval":
        return subject
    training = subject.in_training() if mode == "train" else None
    if training is None:
        raise InputError("a mode is 'eval', or 'train' for what has one", repr(mode), "Write mode='eval'")
    return training


def _arranged(subject: Subject, axes: Axes, leaks: Callable[[Subject], bool], seed: int) -> tuple[Subject, list[str]]:
    """The subject in its layout: as it is asked for, else as it is found; and what there is to say."""
    if axes != (None, None):
        subject, notes = as_asked(subject.relaid(asked(subject.original, *axes)), seed)
    else:
        subject, notes = arranged(subject, leaks, seed)
    return subject, [*subject.remarks, *notes]


def _check_frame(frame: Frame | None, subject: Subject) -> None:
    if frame is not None and (frame.q_len, frame.kv_len) != (subject.queries, subject.length):
        raise InputError(
            "a frame has as many queries as there are outputs, and as many keys as positions",
            f"{frame} for {subject.queries} outputs of {subject.length} positions",
            f"Write frame=am.Frame({subject.queries}, {subject.length}, q_start=...)",
        )
