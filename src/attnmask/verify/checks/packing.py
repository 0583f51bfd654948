"""Packing: documents in one sequence give what each of them gives alone.

Documents are read off the allowed mask: runs of real positions between which nothing is visible. A leak is each of

    after     a document gives others without what follows it: it depends on the total length, or on how many follow
    merged    it gives others if those before it are one document of the same length: it depends on how many they are
    before    it gives others without what precedes it, at the same positions: those that were given, or else those counted
              from the start of the whole sequence, where the model takes ``position_ids`` and uses them

Where a document stands is no information from another one. A model that counts positions itself gives others if a document
stands elsewhere, and is right: that the first two hold is all that can be said of it, and what to give is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from attnmask.verify.judging.documents import documents_of
from attnmask.verify.judging.probe import departed, largest
from attnmask.verify.report import Leak
from attnmask.verify.session import Found, Session, Skipped
from attnmask.verify.subjects.excerpt import excerpt, merged
from attnmask.verify.subjects.positions import POSITIONS, placed, tells_positions
from attnmask.verify.subjects.subject import Subject

NAME = "packing"
LEVEL = "quick"

KINDS = ("after", "merged", "before")
MEANS = {
    "after": "a document gives other outputs without what follows it",
    "merged": "a document gives other outputs if what precedes it is one document, of the same length",
    "before": "a document gives other outputs without what precedes it, at the same positions",
}

Documents = list[tuple[int, int]]


class Part(NamedTuple):
    """A document that is left of a sequence: where it starts and ends there, and from which position on the rest is kept."""

    start: int
    stop: int
    left: Subject
    shift: int


class Apart(NamedTuple):
    """An output of a document that is another one than in the whole sequence."""

    row: int
    size: float
    part: Part


def sections(session: Session) -> Iterator[Found]:
    """One section for each sequence in which documents are kept apart."""
    subject = session.subject
    if subject.queries != subject.length or subject.draws:
        return
    for sequence in range(subject.batch):
        documents = documents_of(session.case(NAME, valid=session.valid(sequence), sequence=sequence))
        if documents:
            name = NAME if subject.batch == 1 else f"sequence {sequence}, {NAME}"
            yield _section(session, name, sequence, documents)


def _section(session: Session, name: str, sequence: int, documents: Documents) -> Found:
    subject = session.subject.exact()
    packed = subject.with_inputs(**subject.copies(sequence, 1))
    told = tells_positions(packed)
    kinds = [kind for kind in KINDS if not (told and kind == "merged")]  # then the last one says as much
    for kind in kinds:
        found = _found(packed, documents, kind, session.seed)
        if found and kind == "before" and not told:
            counted = placed(packed, np.arange(packed.length)[None])
            if counted is None:
                return Skipped(name, _why(found[0]))
            packed, found = counted, _found(counted, documents, kind, session.seed)
        if found:
            key = found[0].part.stop if kind == "after" else found[0].part.start - 1
            leaks = [Leak(one.row, key, one.size, None, sequence) for one in found]
            module = packed.first_departing(found[0].part.left, found[0].row, shift=found[0].part.shift)
            return session.compared(name, leaks, tests=len(documents), module=module, note=MEANS[kind])
    return session.compared(name, [], tests=len(kinds) * len(documents))


def _why(apart: Apart) -> str:
    start, stop = apart.part.start, apart.part.stop
    return (
        f"the document at positions {start} to {stop - 1} gives other outputs alone, as where the model counts positions "
        f"itself; to tell, give it {POSITIONS}"
    )


def _found(packed: Subject, documents: Documents, kind: str, seed: int) -> list[Apart]:
    """The outputs of the first document that departs, if any departs for other content, too."""
    everything = np.ones((1, packed.length), bool)
    found = next(_differing(packed, documents, kind), [])
    other = packed.with_inputs(**packed.resampled(0, everything, seed))
    return found if found and next(_differing(other, documents, kind), []) else []


def _differing(packed: Subject, documents: Documents, kind: str) -> Iterator[list[Apart]]:
    """For each document whose outputs depart: which do, and how far."""
    expected = packed.run(packed.copies(0, 1))[0]
    for part in _parts(packed, documents, kind):
        rows = slice(part.start - part.shift, part.stop - part.shift)
        found = part.left.run(part.left.copies(0, 1))[0, rows]
        apart, others = departed(found, expected[part.start : part.stop], largest(expected))
        if len(others):
            yield [Apart(part.start + int(row), float(apart[row]), part) for row in others]


def _parts(packed: Subject, documents: Documents, kind: str) -> Iterator[Part]:
    for number, (start, stop) in enumerate(documents):
        if kind == "after" and stop < packed.length:
            yield Part(start, stop, excerpt(packed, 0, stop), 0)
        elif kind == "merged" and number > 1:
            yield Part(start, stop, merged(packed, start), 0)
        elif kind == "before" and start:
            yield Part(start, stop, excerpt(packed, start, stop), start)
