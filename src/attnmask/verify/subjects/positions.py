"""Positions as an input."""

from __future__ import annotations

from attnmask.verify.judging.probe import difference
from attnmask.verify.subjects.arrays import Array
from attnmask.verify.subjects.subject import Subject

POSITIONS = "position_ids"


def takes_positions(subject: Subject) -> bool:
    """Whether a model takes positions that were not given."""
    return POSITIONS in getattr(subject, "parameters", ()) and POSITIONS not in subject.arrays


def placed(subject: Subject, places: Array) -> Subject | None:
    """The same subject with positions (batch, length) as an input; None where the model takes none, or does not use them."""
    if not takes_positions(subject):
        return None
    told, turned = (subject.with_inputs(**{POSITIONS: places[:, ::step]}) for step in (1, -1))
    moved = difference(told.run(told.copies(0, 1))[0], turned.run(turned.copies(0, 1))[0])
    return told if moved.any() else None


def tells_positions(subject: Subject) -> bool:
    """Whether positions are among the inputs."""
    return any("position" in name and subject._goes_along(name, array) for name, array in subject.arrays.items())
