"""The laws by which masks are simplified, one a line: the left side becomes the right side.

``A B C`` stand for any masks, ``x y`` for any terms, ``c d e f`` for any numbers and ``n m`` for divisors.
``when`` says what must hold, and is itself decided by the laws. ``& |`` are read in any order; sums and comparisons are
brought to linear form first (``canonical.py``), so that every comparison reads ``x <= c``, ``c <= x`` or ``same(x, c)``.
The tests prove each law for all integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attnmask.define.language import Apply, Const, Index, Named, Node
from attnmask.define.mask import Mask, Term, as_term_node, maximum, minimum, same, where
from attnmask.define.text.notation import text_of

NUMBERS = ("c", "d", "e", "f", "n", "m")


class _Any(Term):
    """A term of a law, which may divide by ``n`` and ``m``."""

    __slots__ = ()

    def __floordiv__(self, other: object) -> Term:
        return self._binary("//", other)

    def __mod__(self, other: object) -> Term:
        return self._binary("%", other)


@dataclass(frozen=True)
class Law:
    """``left`` may be replaced by ``right`` where ``when`` holds."""

    left: Apply
    right: Node
    when: Node

    def __str__(self) -> str:
        guard = "" if self.when == Const(True) else f" when {text_of(self.when)}"
        return f"{text_of(self.left)} -> {text_of(self.right)}{guard}".replace("()", "")


def law(left: Mask | Term, right: Mask | Term | int, when: Mask | None = None) -> Law:
    """A law, written with the operators of the language."""
    if not isinstance(left.node, Apply):
        raise TypeError("the left side of a law is an operation")
    return Law(left.node, _node(right), Const(True) if when is None else when.node)


def opposite(mask: Mask) -> Mask:
    """``~mask``, also where Python's operator would already take two of them away."""
    return Mask(Apply("~", (mask.node,)))


def _node(side: Any) -> Node:
    return side.node if isinstance(side, Mask) else as_term_node(side)


A, B, C = (Mask(Named(name, (), Const(True))) for name in "ABC")
x, y = (_Any(Index(name)) for name in "xy")
c, d, e, f, n, m = (_Any(Index(name)) for name in NUMBERS)
yes, no = Mask(Const(True)), Mask(Const(False))

LAWS = (
    # and, or, not
    law(A & yes, A),
    law(A | no, A),
    law(A & no, no),
    law(A | yes, yes),
    law(A & A, A),
    law(A | A, A),
    law(A & ~A, no),
    law(A | ~A, yes),
    law(A & (A | B), A),
    law(A | (A & B), A),
    law(A & (~A | B), A & B),
    law(A | (~A & B), A | B),
    law((A | B) & (A | C), A | (B & C)),
    law((A & B) | (A & C), A & (B | C)),
    law(A & ((A & B) | C), A & (B | C)),
    law(A | ((A | B) & C), A | (B & C)),
    law(A & ((~A & B) | C), A & C),
    law(A | ((~A | B) & C), A | C),
    # the opposite, pushed down to the parts
    law(opposite(~A), A),
    law(opposite(A & B), ~A | ~B),
    law(opposite(A | B), ~A & ~B),
    law(opposite(x <= c), c + 1 <= x),
    law(opposite(c <= x), x <= c - 1),
    # two bounds of one term
    law((x <= c) & (x <= d), x <= minimum(c, d)),
    law((x <= c) | (x <= d), x <= maximum(c, d)),
    law((c <= x) & (d <= x), maximum(c, d) <= x),
    law((c <= x) | (d <= x), minimum(c, d) <= x),
    law((c <= x) & (x <= d), no, when=d < c),
    law((c <= x) | (x <= d), yes, when=c <= d + 1),
    law((c <= x) & (x <= c), same(x, c)),
    # two pieces of one term that touch
    law(same(x, c) | same(x, d), (c <= x) & (x <= d), when=same(d, c + 1)),
    law((c <= x) & (x <= d) | same(x, e), (c <= x) & (x <= e), when=same(e, d + 1) & (c <= d)),
    law((c <= x) & (x <= d) | same(x, e), (e <= x) & (x <= d), when=same(e, c - 1) & (c <= d)),
    law((c <= x) & (x <= d) | same(x, e), (c <= x) & (x <= d), when=(c <= e) & (e <= d)),
    law((c <= x) & (x <= d) | (x <= e), (x <= maximum(d, e)), when=c <= e + 1),
    law((c <= x) & (x <= d) | (e <= x), (minimum(c, e) <= x), when=e <= d + 1),
    law(((c <= x) & (x <= d)) | ((e <= x) & (x <= f)), (c <= x) & (x <= maximum(d, f)), when=(c <= e) & (e <= d + 1)),
    # a bound and one place of the same term
    law(same(x, c) & same(x, d), no, when=~same(c, d)),
    law(same(x, c) & (x <= d), same(x, c), when=c <= d),
    law(same(x, c) & (x <= d), no, when=d < c),
    law(same(x, c) & (d <= x), same(x, c), when=d <= c),
    law(same(x, c) & (d <= x), no, when=c < d),
    law(same(x, c) | (x <= d), x <= d, when=c <= d),
    law(same(x, c) | (x <= d), x <= c, when=same(c, d + 1)),
    law(same(x, c) | (d <= x), d <= x, when=d <= c),
    law(same(x, c) | (d <= x), c <= x, when=same(c, d - 1)),
    law(~same(x, c) & same(x, d), same(x, d), when=~same(c, d)),
    law(~same(x, c) & (x <= d), x <= d, when=d < c),
    law(~same(x, c) & (x <= c), x <= c - 1),
    law(~same(x, c) & (d <= x), d <= x, when=c < d),
    law(~same(x, c) & (c <= x), c + 1 <= x),
    law(~same(x, c) | ~same(x, d), yes, when=~same(c, d)),
    law(~same(x, c) | same(x, d), ~same(x, c), when=~same(c, d)),
    law(~same(x, c) | (x <= d), yes, when=c <= d),
    law(~same(x, c) | (x <= d), ~same(x, c), when=d < c),
    law(~same(x, c) | (d <= x), yes, when=d <= c),
    law(~same(x, c) | (d <= x), ~same(x, c), when=c < d),
    law(opposite(same(x % n, c)), same(x % n, 1 - c), when=same(n, 2) & (c >= 0) & (c <= 1)),
    # comparisons that look into their term
    law(x // n <= c, x <= n * c + n - 1),
    law(c <= x // n, n * c <= x),
    law(same(x // n, c), (n * c <= x) & (x <= n * c + n - 1)),
    law(same(x % n - y % n, 0), same((x - y) % n, 0)),
    law(x % n <= c, yes, when=n <= c + 1),
    law(x % n <= c, no, when=c < 0),
    law(x % n <= 0, same(x % n, 0)),
    law(c <= x % n, yes, when=c <= 0),
    law(c <= x % n, no, when=n <= c),
    law(c <= x % n, same(x % n, c), when=same(c, n - 1)),
    law(same(x % n, c), no, when=(c < 0) | (n <= c)),
    # terms
    law(x // n // m, x // (n * m)),
    law(x // n, 0, when=(x >= 0) & (x < n)),
    law(x % n, x, when=(x >= 0) & (x < n)),
    law(x % n % m, x % m, when=same(n % m, 0)),
    law(abs(x), x, when=x >= 0),
    law(abs(x), -x, when=x <= 0),
    law(minimum(x, y), x, when=x <= y),
    law(maximum(x, y), x, when=y <= x),
    law(minimum(minimum(x, c), d), minimum(x, minimum(c, d))),
    law(maximum(maximum(x, c), d), maximum(x, maximum(c, d))),
    law(where(no, x, y), y),
    law(where(A, x, x), x),
)
