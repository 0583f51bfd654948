"""The search: the shortest combination of members of the kinds that is exactly a given array, or nearly.

Each kind gives members that lie inside what may be visible: *cores*. An array that is a union of known kinds is the union
of its cores. What is a conjunction is found in the same way on the opposite view, for

    a & b  =  ~(~a | ~b)

and the cores of what is hidden are the opposites of *hulls*, members that contain everything visible. A union inside a
hull leaves open what the hull hides, so that ``causal() & (sinks(2) | window(3))`` is a union of cores as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import combinations
from operator import and_, or_
from typing import NamedTuple

import numpy as np

from attnmask.define.mask import Mask
from attnmask.exchange.recognition.length import length
from attnmask.exchange.recognition.members import MEMBERS
from attnmask.exchange.recognition.pairs import Bools
from attnmask.exchange.recognition.sample import Sample
from attnmask.exchange.recognition.view import View
from attnmask.exchange.recognition.words import joined, negated

MOST_PARTS = 3  # of a union
MOST_CORES = 12  # that are combined
MOST_OUTER = 6  # hulls inside which a union is looked for
MOST_RESIDUES = 3  # cores beside which others are looked for
SHORT = 32  # bits, of the description of a small array
USUAL = 4  # kinds that are tried first
SHARE = 64  # of the cells, of which a part nested with others shows or hides one
SMALL = 40  # cells: too few for a description of three parts


class Part(NamedTuple):
    """A mask, its length with what its wrong cells cost, and the cells of the sample at which it is visible."""

    length: int
    mask: Mask
    bits: int


class Search:
    """One array, and the rows on which descriptions of it are tried.

    Args:
        view: the array; of a description, ``view.slack`` cells may be wrong.
        sample: its rows.
        price: what a wrong cell adds to the length of a description, in bits.
    """

    def __init__(self, view: View, sample: Sample, price: int = 0) -> None:
        self.view, self.sample, self.price = view, sample, price
        self._nests = view.must.size >= SMALL and is_patterned(view.must)

    def descriptions(self) -> list[Part]:
        """What describes the sample, the shortest first."""
        usual = self._usual()
        if usual is not None:
            return [usual]
        found = list(self._simple())
        if self._nests and not any(part.length <= short_for(self.view.must) for part in found):
            found += self._nested()
        return sorted(found, key=lambda part: part.length)

    def _usual(self) -> Part | None:
        """A single member of the most usual kinds, which needs no rival."""
        must = self.sample.pack(self.view.must)
        for member in MEMBERS[:USUAL]:
            for mask in member(self.view):
                if self.sample.bits(mask) == must and length(mask) <= SHORT:
                    return Part(length(mask), mask, must)
        return None

    def _simple(self) -> Iterator[Part]:
        """Unions, and conjunctions."""
        yield from self._unions(self.view, {})
        yield from map(self._turned, self._unions(self.view.opposite, {}))

    def _nested(self) -> Iterator[Part]:
        """Unions inside hulls, and conjunctions beside cores."""
        yield from self._inside_hulls(self.view)
        yield from map(self._turned, self._inside_hulls(self.view.opposite))

    def _turned(self, part: Part) -> Part:
        return Part(part.length, negated(part.mask, self.sample.shape[3]), part.bits ^ self.sample.everything)

    def _inside_hulls(self, view: View) -> Iterator[Part]:
        must = self.sample.pack(view.must)
        hulls = [part for part in self._parts(view).values() if self._few(view, must & ~part.bits)]
        hulls = [hull for hull in _widest_apart(hulls, self.sample.everything) if self._counts(~hull.bits)]
        tried = [[hull] for hull in hulls[:MOST_OUTER]] + ([hulls] if len(hulls) > 1 else [])
        for outers in tried:
            outer = joined("&", [hull.mask for hull in outers])
            inner = view.with_cells(view.must, view.may | ~self.sample.dense(outer))
            for union in self._unions(inner, {hull.bits: hull for hull in outers}):
                yield self._pruned(view, outers, union)

    def _pruned(self, view: View, outers: list[Part], union: Part) -> Part:
        """``outers & union`` without those of the outers that hide no more than the others do."""
        kept = list(outers)
        for outer in sorted(outers, key=lambda part: -part.length):
            less = [part for part in kept if part is not outer]
            if less and self._wrong(view, self._and(less, union)) <= self._wrong(view, self._and(kept, union)):
                kept = less
        bits = self._and(kept, union)
        return self._priced(view, joined("&", [*(part.mask for part in kept), union.mask]), bits)

    def _and(self, parts: list[Part], union: Part) -> int:
        return reduce(and_, (part.bits for part in parts), union.bits)

    def _unions(self, view: View, known: dict[int, Part]) -> Iterator[Part]:
        """The shortest union of parts inside what may be visible that shows everything that must be."""
        must, may = self.sample.pack(view.must), self.sample.pack(view.may)
        cores = [part for bits, part in self._parts(view).items() if bits not in known and self._few(view, bits & ~may)]
        if not self._few(view, must & ~reduce(or_, (core.bits for core in cores), 0)):
            largest = [core for core in _most_useful(cores, must)[:MOST_RESIDUES] if self._counts(core.bits)]
            cores += self._beside(view, largest, may)
        pool = _most_useful(cores, must)[:MOST_CORES]
        found = []
        for count in range(1, MOST_PARTS + 1):
            for chosen in combinations(pool, count):
                bits = reduce(or_, (part.bits for part in chosen))
                if self._few(view, (must & ~bits) | (bits & ~may)):
                    found.append(self._priced(view, joined("|", [part.mask for part in chosen]), bits))
        if found:
            yield min(found, key=lambda part: part.length)

    def _beside(self, view: View, cores: list[Part], may: int) -> Iterator[Part]:
        """Parts that show what a core leaves over, and nothing that must be hidden."""
        for core in cores:
            left = view.with_cells(view.must & ~self.sample.dense(core.mask), view.may)
            yield from (part for part in self._parts(left).values() if self._few(view, part.bits & ~may))

    def _parts(self, view: View) -> dict[int, Part]:
        """All members that the kinds guess, and the opposites of those that they guess of the hidden cells."""
        kv_len, found = self.sample.shape[3], dict[int, Part]()
        for member in MEMBERS:
            guesses = [*member(view), *(negated(mask, kv_len) for mask in member(view.opposite))]
            for mask in guesses:
                bits = self.sample.bits(mask)
                if bits not in (None, 0, self.sample.everything):
                    part = Part(self._length(view, mask), mask, bits)
                    found[bits] = min(found.get(bits, part), part, key=lambda part: part.length)
        return found

    def _priced(self, view: View, mask: Mask, bits: int) -> Part:
        return Part(self._length(view, mask) + self.price * self._wrong(view, bits), mask, bits)

    def _length(self, view: View, mask: Mask) -> int:
        return length(negated(mask, self.sample.shape[3]) if view.turned else mask)

    def _wrong(self, view: View, bits: int) -> int:
        return ((self.sample.pack(view.must) & ~bits) | (bits & ~self.sample.pack(view.may))).bit_count()

    def _counts(self, bits: int) -> bool:
        """Whether so many cells make a part of some weight."""
        everything = self.sample.everything
        return (bits & everything).bit_count() * SHARE >= everything.bit_count()

    def _few(self, view: View, wrong: int) -> bool:
        return not wrong if not view.slack else wrong.bit_count() <= view.slack


def short_for(visible: Bools) -> int:
    """The length of a description, in bits, below which no rival is looked for."""
    return max(SHORT, sum(visible.shape[2:]))


def is_patterned(visible: Bools) -> bool:
    """Whether neighbours along rows, columns or diagonals are more often alike than by chance; of a large array, some rows."""
    q_len, kv_len = visible.shape[2:]
    if min(q_len, kv_len) < 32:
        return True
    rows = np.linspace(1, q_len - 1, min(q_len - 1, 64)).astype(int)
    here, before = visible[:, :, rows], visible[:, :, rows - 1]
    share = float(here.mean())
    changes = (here != before, here[..., 1:] != before[..., :-1], here[..., 1:] != here[..., :-1])
    return min(float(change.mean()) for change in changes) <= share * (1 - share)  # half of what chance gives


def _most_useful(cores: list[Part], must: int) -> list[Part]:
    """Without parts that show no more than a shorter one does; those that show most come first."""
    kept: list[Part] = []
    for core in sorted(cores, key=lambda part: (part.length, -(part.bits & must).bit_count())):
        if core.bits & must and all(core.bits & must & ~other.bits for other in kept):
            kept.append(core)
    return sorted(kept, key=lambda part: -(part.bits & must).bit_count())


def _widest_apart(hulls: list[Part], everything: int) -> list[Part]:
    """The same of hulls, by what they hide."""
    hidden = [Part(hull.length, hull.mask, everything ^ hull.bits) for hull in hulls]
    return [Part(part.length, part.mask, everything ^ part.bits) for part in _most_useful(hidden, everything)]
