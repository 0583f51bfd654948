"""``why``: the truth value of every part of a mask at one position."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass

from attnmask.define.language import Apply, Const, Lookup, Named, Node, Rebuild, fold, sort_of, unnamed
from attnmask.define.mask import Mask
from attnmask.define.tables import Table
from attnmask.define.text.notation import text_of
from attnmask.define.text.parse import given
from attnmask.errors import FrameError
from attnmask.exchange.recognition.recognize import described
from attnmask.lower.arrays import evaluate, numpy_of

Position = dict[str, int]  # of b, h, q and k

CONNECTIVES = ("&", "|", "~")
MOST_RECOGNIZED = 1 << 16  # entries of a table that is said in words


@dataclass(frozen=True)
class Part:
    """A part of a mask at one position.

    Args:
        text: its notation.
        value: whether it is True there.
        steps: what it stands for, with the numbers filled in, and then with both sides worked out.
        parts: the parts that it is made of.
    """

    text: str
    value: bool
    steps: tuple[str, ...]
    parts: tuple[Part, ...]

    def lines(self, indent: str = "") -> Iterator[str]:
        """This part and below it, indented, its parts."""
        yield f"{indent}{self.text} is {self.value}{': ' if self.steps else ''}{', '.join(self.steps)}"
        for part in self.parts:
            yield from part.lines(indent + "  ")


@dataclass(frozen=True, repr=False)
class Why:
    """Why a query sees a key or does not: ``visible``, the tree ``parts``, ``text()``, ``to_json()``."""

    mask: Mask
    q: int
    k: int
    b: int
    h: int
    parts: Part

    @property
    def visible(self) -> bool:
        """Whether the query may attend to the key."""
        return self.parts.value

    def text(self) -> str:
        """The answer, then every part and its truth value."""
        used = self.mask.depends_on
        where = [f"{name} {at}" for name, at in (("batch", self.b), ("head", self.h)) if name[0] in used]
        place = f" ({', '.join(where)})" if where else ""
        answer = "sees" if self.visible else "does not see"
        return "\n".join([f"query {self.q} {answer} key {self.k}{place}", *self.parts.lines("  ")])

    def to_json(self) -> str:
        """The answer and the tree as JSON."""
        position = {"q": self.q, "k": self.k, "b": self.b, "h": self.h}
        content = {"mask": repr(self.mask), **position, "visible": self.visible}
        return json.dumps({**content, "parts": dataclasses.asdict(self.parts)})

    def __repr__(self) -> str:
        return self.text()


def why(mask: Mask | str, *, q: int, k: int, b: int = 0, h: int = 0) -> Why:
    """Why query ``q`` sees key ``k``, or does not: each part of the mask and its truth value.

    A part is followed by what it stands for, by that with the numbers filled in, and by both sides worked out.

    >>> import attnmask as am
    >>> am.why(am.causal() & am.padding([3, 2]), q=3, k=2, b=1)
    query 3 does not see key 2 (batch 1)
      causal() & padding([3, 2]) is False
        causal() is True: k <= q, 2 <= 3
        padding([3, 2]) is False: k < lookup([3, 2], b), 2 < lookup([3, 2], 1), 2 < 2
    >>> am.why(am.causal(), q=7, k=9).visible
    False
    >>> am.why(am.padding([3, 2]), q=0, k=0, b=2)
    Traceback (most recent call last):
    attnmask.errors.FrameError: a table is asked for positions that it has; got b = 2, but a table of shape (2,) in padding([3, 2]). Give a position within 0 .. 1.

    Args:
        mask: the mask.
        q: the query's position, counted as the mask counts: from 0, in a frame with ``q_start`` from there.
        k: the key's position.
        b: the place in the batch.
        h: the head.

    Raises:
        FrameError: a position is negative, no whole number, or outside a table of the mask.
    """
    mask = given(mask)
    at = {name: _position(name, value) for name, value in (("q", q), ("k", k), ("b", b), ("h", h))}
    _check_tables(mask, mask.node, at)
    return Why(mask, at["q"], at["k"], at["b"], at["h"], _explained(mask.node, at))


def _position(name: str, value: object) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise FrameError("positions are whole numbers", f"{name}={value!r}", f"Write {name}=int(...)")
    number = int(value.__index__())
    if number < 0:
        raise FrameError(
            "positions count from 0", f"{name}={number}", f"Write {name}=length{number} to count from the end"
        )
    return number


def _check_tables(mask: Mask, node: Node, at: Position) -> None:
    for part in _children(node):
        _check_tables(mask, part, at)
    if isinstance(node, Lookup):
        for size, place in zip(node.table.shape, node.at, strict=True):
            found = _value(place, at)
            if not 0 <= found < size:
                raise FrameError(
                    "a table is asked for positions that it has",
                    f"{text_of(place)} = {found}, but a table of shape {node.table.shape} in {mask}",
                    f"Give a position within 0 .. {size - 1}",
                )


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Lookup(at=parts) | Apply(args=parts):
            return parts
        case Named(body=body):
            return (body,)
        case _:
            return ()


def _value(node: Node, at: Position) -> int:
    return int(evaluate(node, **at))


def _explained(node: Node, at: Position) -> Part:
    """A part; a name takes the steps and parts of the body that it stands for."""
    text, value = text_of(node, short=True), bool(_value(node, at))
    if isinstance(node, Named):
        body = _explained(node.body, at)
        return Part(text, value, tuple(dict.fromkeys((*_in_words(node), body.text, *body.steps))), body.parts)
    if isinstance(node, Apply) and node.op in CONNECTIVES:
        return Part(text, value, (), tuple(_explained(part, at) for part in node.args))
    conditions = tuple(_explained(part, at) for part in _conditions(node))
    return Part(text, value, _filled(node, at), conditions)


def _in_words(node: Named) -> Iterator[str]:
    """What a table is, where that has words: the kinds that it is made of, or the nearest one."""
    for _, value in node.args if node.name == "table" else ():
        if isinstance(value, Table) and value.size <= MOST_RECOGNIZED:
            words = described(numpy_of(value), q_start=0)
            own = text_of(node, short=True)
            yield words.removeprefix(own).lstrip(",: ") if words.startswith(own) else f"which is {words}"


def _conditions(node: Node) -> Iterator[Node]:
    """The outermost truth values inside the numbers that a comparison compares: the conditions of ``where``."""
    for part in _children(node):
        if sort_of(part) == "bool":
            yield part
        else:
            yield from _conditions(part)


def _filled(node: Node, at: Position) -> tuple[str, ...]:
    """The part with its index variables replaced by numbers, then with its sides worked out."""
    numbers = fold(unnamed(node), _FillIn(at))
    steps = [text_of(numbers, short=True)]
    if isinstance(numbers, Apply):
        steps.append(text_of(Apply(numbers.op, tuple(Const(_value(side, at)) for side in numbers.args))))
    elif isinstance(numbers, Lookup):
        worked_out = tuple(Const(_value(place, at)) for place in numbers.at)
        steps.append(text_of(Lookup(numbers.table, worked_out), short=True))
    own = text_of(node, short=True)
    return tuple(step for step in dict.fromkeys(steps) if step != own)


class _FillIn(Rebuild):
    def __init__(self, at: Position) -> None:
        self.at = at

    def index(self, name: str) -> Node:
        return Const(self.at[name])
