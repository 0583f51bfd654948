"""``Case``: one sequence of a model's inputs, and what its outputs may depend on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.define.masks.padding import padding
from attnmask.errors import InputError
from attnmask.exchange.recognition.recognize import recognize
from attnmask.verify.subjects.subject import Subject

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Case:
    """One situation in which a model is judged.

    Attributes:
        name: what is special about it, as ``"3 right pads"``.
        subject: the model with its inputs.
        mask: what each output may depend on, in notation.
        allowed: the same as booleans (queries, keys).
        real: the queries that are judged; the outputs of padding may be anything.
        sequence: which row of the batch is looked at.
        seed: of all random content.
    """

    name: str
    subject: Subject
    mask: Mask
    allowed: Bools
    real: Bools
    sequence: int
    seed: int

    @property
    def forbidden(self) -> Bools:
        """Pairs (query, key) without any influence, if all is right."""
        return ~self.allowed & self.real[:, None]

    @property
    def sees_something(self) -> Bools:
        """Queries that are judged and may depend on some position."""
        return np.asarray(self.real & self.allowed.any(1))

    def judging(self, real: Bools) -> Case:
        """The same, with fewer queries to judge."""
        return replace(self, real=self.real & real)


def case(
    name: str,
    subject: Subject,
    allowed: Mask,
    *,
    valid: Bools | None = None,
    sequence: int = 0,
    seed: int = 0,
    frame: Frame | None = None,
) -> Case:
    """The case of one sequence, of which the positions ``valid`` are real (all, if it is left out)."""
    valid = np.ones(subject.length, bool) if valid is None else valid
    mask, queries = _with_padding(allowed, valid), subject.queries
    dense = cells(mask, queries, subject.length, frame)
    real = valid if queries == subject.length else np.ones(queries, bool)
    return Case(name, subject, mask, dense[sequence if len(dense) > 1 else 0], real, sequence, seed)


def cells(mask: Mask, queries: int, keys: int, frame: Frame | None) -> Bools:
    """What a mask shows of so many keys to so many outputs (batch, queries, keys), aligned as in a frame."""
    if frame is None:
        start = 0 if queries == keys else None
    else:
        start = keys - queries if frame.q_start == frame.kv_len - frame.q_len else frame.q_start
    if queries != keys and start is None and "q" in mask.depends_on:
        raise InputError(
            "what an output may see depends on where it stands",
            f"{queries} outputs for {keys} positions, allowed {mask}",
            f"Write frame=am.Frame({queries}, {keys}, align='end'), or q_start=, and the mask in positions of outputs",
        )
    return np.asarray(mask.dense(Frame(queries, keys, q_start=start))[:, 0])


def _with_padding(allowed: Mask, valid: Bools) -> Mask:
    if valid.all():
        return allowed
    every_row = np.broadcast_to(valid, (len(valid), len(valid)))  # of one row alone, causal() could be the name
    pads = recognize(every_row) if valid.any() else padding(valid=valid)
    return pads if allowed == everything() else allowed & pads
