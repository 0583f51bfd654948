"""How a model takes its inputs: which axis is the batch, which are the positions, and how many sequences it takes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from attnmask.errors import InputError
from attnmask.verify.judging.probe import mixed
from attnmask.verify.report import in_a_line
from attnmask.verify.subjects.layout import Layout
from attnmask.verify.subjects.subject import Subject


class Trial(NamedTuple):
    """A layout tried: what the model raised, and whether sequences of a batch see each other."""

    subject: Subject
    error: Exception | None
    mixes: bool

    @property
    def fits(self) -> bool:
        """Whether nothing speaks against the layout."""
        return self.error is None and not self.mixes and self.subject.queries == self.subject.length


def arranged(subject: Subject, leaks: Callable[[Subject], bool], seed: int) -> tuple[Subject, tuple[str, ...]]:
    """The subject in the layout in which sequences of a batch do not see each other, and what was found out.

    A model (length, batch, dim) that is taken for (batch, length, dim) looks as if its sequences saw each other. The usual
    layout is kept where it fits, and where no other one fits better: a leak from sequence to sequence is a leak. Of ids,
    which are (batch, length) nearly everywhere, another layout is only mentioned.

    Args:
        subject: in the usual layout.
        leaks: whether a subject leaks at first sight.
        seed: of random content.
    """
    own = _trial(subject, seed)
    if own.fits or (own.error is None and not own.mixes and len(subject.layout.length) == 1):
        return subject, ()
    tried = (_trial(other, seed) for other in _otherwise(subject))
    found = next((one.subject for one in tried if one.fits and (own.error or not leaks(one.subject))), None)
    if found is not None and (own.error or not subject.holds_ids):
        said = f"{subject.vary} is taken with {_said(found.layout)}"
        return found, (f"{said}; if that is wrong, say batch_axis= and length_axis=",)
    if own.error is not None:
        return _in_one_size(subject, own.error)
    subject.at_once = 1 if own.mixes else subject.at_once  # else copies in one batch would see each other
    return subject, () if found is None else (_doubt(found),)


def as_asked(subject: Subject, seed: int) -> tuple[Subject, tuple[str, ...]]:
    """The subject in the layout that was asked for, however its sequences see each other."""
    own = _trial(subject, seed)
    if own.error is not None:
        return _in_one_size(subject, own.error)
    subject.at_once = 1 if own.mixes else subject.at_once
    return subject, ()


def _trial(subject: Subject, seed: int) -> Trial:
    try:
        for count in (1, 2):
            subject.run(subject.copies(0, count))
        mixes = any(mixed(subject, place, seed)[2].any() for place in (0, 1))
    except Exception as error:  # a model raises what it likes where it does not take an input
        return Trial(subject, error, False)
    return Trial(subject, None, mixes)


def doubts(subject: Subject, leaks: Callable[[Subject], bool], seed: int) -> Iterator[str]:
    """What to say of a subject that leaks, but would not if positions were other axes of floats."""
    channels = {3: Layout(0, (2,)), 4: Layout(0, (1, 2) if subject.layout.length == (2, 3) else (2, 3))}
    layout = channels.get(_axes(subject))
    if layout in (None, subject.layout) or subject.holds_ids:
        return
    other = next(iter(_relaid(subject, [layout])), None)
    if other is not None and _trial(other, seed).fits and not leaks(other):
        yield _doubt(other)


def _doubt(other: Subject) -> str:
    layout = other.layout
    axes = layout.length if len(layout.length) > 1 else layout.length[0]
    advice = f"say batch_axis={layout.batch}, length_axis={axes}"
    return f"nothing leaks with {_said(layout)}: if these are the axes, {advice}"


def _otherwise(subject: Subject) -> Iterator[Subject]:
    """The subject in the other layouts that its varied input may have."""
    first = [Layout(1, (0,))]
    other_images = [Layout(0, (1, 2) if subject.layout.length == (2, 3) else (2, 3))]
    return _relaid(subject, {2: first, 3: first, 4: other_images}.get(_axes(subject), []))


def _relaid(subject: Subject, layouts: list[Layout]) -> Iterator[Subject]:
    for layout in layouts:
        try:
            yield subject.relaid(layout)
        except InputError:  # fewer than two positions
            continue


def _axes(subject: Subject) -> int:
    return int(subject.original.ndim)


def _said(layout: Layout) -> str:
    positions = "axis" if len(layout.length) == 1 else "axes"
    positions += " " + " and ".join(map(str, layout.length))
    return f"axis {layout.batch} for the batch and {positions} for positions"


def _in_one_size(subject: Subject, error: Exception) -> tuple[Subject, tuple[str, ...]]:
    """The subject with as many sequences in each call as were given, for what was exported or traced so."""
    if isinstance(error, InputError):
        raise error
    other = subject.with_inputs()
    other.exactly = subject.batch
    try:
        other.run(other.copies(0, 1))
    except Exception:
        array = subject.original
        raise InputError(
            "a model runs on copies of the sequences that it is given",
            f"{subject.vary} {array.dtype} of shape {array.shape}: {in_a_line(error)}",
            "Give token ids as integers (batch, length), embeddings as floats (batch, length, dim), and all inputs that it needs",
        ) from error
    return other, (f"the model takes {subject.batch} sequences in a call, no others: {in_a_line(error)}",)
