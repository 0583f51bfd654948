"""Cache: tokens that come in several calls give what one pass over all of them gives.

They come one by one, several at once, onto a cache that grows or one of a fixed size (whose unused slots are filled with
large numbers), behind pads on the left, and after the rows were reordered, as beams are. What departs by more than
``TOLERANCE`` is a finding; where float64 is not to be had, if it departs for other content, too, for rounding can choose
another expert once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from attnmask.errors import InputError
from attnmask.verify.judging.documents import documents_of
from attnmask.verify.report import Leak, Section, in_a_line
from attnmask.verify.session import Found, Session, Skipped
from attnmask.verify.subjects.excerpt import is_of_pairs
from attnmask.verify.subjects.inputs import DECODER
from attnmask.verify.subjects.positions import POSITIONS, takes_positions
from attnmask.verify.subjects.subject import Subject

if TYPE_CHECKING:
    from attnmask.verify.torch.cache import Departure, Way

NAME = "cache"
LEVEL = "thorough"

EXACT = 1e-12  # the unit of a number format in which no selection is another one by rounding


def sections(session: Session) -> Iterator[Found]:
    """One section for each way to decode."""
    why = _why_not(session)
    if why:
        yield Skipped(NAME, why)
        return
    decoded = _Decoded(session, session.subject.exact())
    for name in decoded.ways:
        try:
            yield decoded.section(name)
        except InputError as error:
            yield Skipped(f"{NAME}, {name}", str(error))
        except Exception as error:  # models and caches raise what they like where they do not fit each other
            yield Skipped(f"{NAME}, {name}", in_a_line(error))


def _why_not(session: Session) -> str | None:
    """Why nothing can be decoded."""
    subject: Any = session.subject
    if not hasattr(subject.model, "named_parameters"):
        return "only torch modules are decoded"
    from attnmask.verify.torch.cache import cache_name

    if cache_name(subject.model) is None:
        return "the model takes no past_key_values"
    encodes = getattr(getattr(subject.model, "config", None), "is_encoder_decoder", False)
    if encodes and not subject.vary.startswith(DECODER):
        return "an encoder has no cache"
    case = session.case(NAME, valid=session.valid(0))
    if subject.queries != subject.length or subject.draws:
        return "there is not one output for each position, or outputs are drawn"
    if np.triu(case.allowed, 1).any():
        return "outputs may depend on later positions, which a cache does not hold"
    if documents_of(case):
        return "a cache holds one document, and the sequence has several"
    pairs = [name for name, array in subject.arrays.items() if is_of_pairs(subject, name, array)]
    return f"{pairs[0]} says which pairs are visible, and would have to grow with the cache" if pairs else None


class _Decoded:
    """A model that is decoded in each way; the full passes that ways have in common are made once."""

    def __init__(self, session: Session, subject: Any) -> None:
        self.session, self.subject = session, subject
        self.ways = _ways(session, subject, session.seed)
        self._whole: dict[int, tuple[Any, Any]] = {}

    def section(self, name: str) -> Section:
        """What one way comes to."""
        way = self.ways[name]
        self.session.say(f"{NAME}, {name}: {len(way.chunks)} calls")
        found = self._departure(name, way)
        leaks = [] if found is None else [Leak(found.position, max(found.position - 1, 0), found.size, None, found.row)]
        return self.session.compared(
            f"{NAME}, {name}",
            leaks,
            tests=len(way.chunks),
            module=found and found.module,
            note=f"decoding with a cache departs from the full pass, in call {found and found.call}",
        )

    def _departure(self, name: str, way: Way) -> Departure | None:
        from attnmask.verify.torch.cache import first_departure

        if id(way.arrays) not in self._whole:
            self._whole[id(way.arrays)] = self._pass(way)
        subject, expected = self._whole[id(way.arrays)]
        found = first_departure(subject, way, expected)
        if found is None or subject.unit < EXACT:
            return found
        again = _ways(self.session, subject, self.session.seed + 1)[name]
        return found if first_departure(subject, again, _outputs(subject, again)) else None

    def _pass(self, way: Way) -> tuple[Any, Any]:
        """The outputs of one pass over everything, and who gives them: not float64 if its fill is -inf in float32 inside."""
        expected = _outputs(self.subject, way)
        if not np.isnan(expected[way.valid]).any():
            return self.subject, expected
        return self.session.subject, _outputs(self.session.subject, way)


def _outputs(subject: Any, way: Way) -> Any:
    return subject.with_inputs(**way.arrays).run(way.arrays)


def _ways(session: Session, subject: Subject, seed: int) -> dict[str, Way]:
    """Each way to decode, by name; with the content as given for the first seed, and with other content for others."""
    from attnmask.verify.torch.cache import Way

    length, padding = subject.length, session.padding_input[0]
    half, third = max(1, length // 2), max(1, length // 3)
    singly, thirds = [half, *[1] * (length - half)], [third, third, length - 2 * third]
    one = subject.copies(0, 1) if seed == session.seed else _others(subject, 1, seed)
    three = _others(subject, 3, seed)
    valid = session.valid(0)[None]
    ways = {
        "one by one": Way(one, singly, padding, valid),
        "several at once": Way(one, [size for size in thirds if size], padding, valid),
        "several, then one by one": Way(one, [third, third, *[1] * (length - 2 * third)], padding, valid),
        "static": Way(one, singly, padding, valid, spare=length),
        "static, several at once": Way(one, [size for size in thirds if size], padding, valid, spare=length),
        "reordered": Way(three, singly, padding, valid.repeat(3, 0), reordered=[1, 2, 2]),
    }
    return ways | {name: Way(arrays, singly, padding, real) for name, arrays, real in _padded(session, subject, seed)}


def _others(subject: Subject, count: int, seed: int) -> dict[str, Any]:
    """Sequences of other content, and for a decoder other content of the encoder, too."""
    arrays = subject.resampled(0, np.ones((count, subject.length), bool), seed)
    sources = [name for name in arrays if subject.vary.startswith(DECODER) and not name.startswith(DECODER)]
    for name in sources:
        if arrays[name].ndim > 1 and len(arrays[name]) == count:
            arrays[name] = np.stack([np.roll(row, place, 0) for place, row in enumerate(arrays[name])])
    return arrays


def _padded(session: Session, subject: Subject, seed: int) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Two sequences with different numbers of pads on the left: without positions, and with those of the real tokens."""
    name, third = session.padding_input[0], subject.length // 3
    if name is None or third < 2:
        return
    valid = np.arange(subject.length) >= np.array([[third], [third // 2]])
    arrays = _others(subject, 2, seed) | {name: session.mask_of(valid)}
    yield "left pads", arrays, valid
    if takes_positions(subject):
        places = np.maximum(np.cumsum(valid, 1) - 1, 0)
        yield f"left pads, {POSITIONS}", arrays | {POSITIONS: places}, valid
