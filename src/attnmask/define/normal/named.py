"""``named``: a mask in the words of the library, however it was spelt.

(k <= q) & (q - k < 4)      traced from somebody's code
0 <= q - k,  q - k <= 3     its normal form
causal()    0 <= q - k                the kinds say which of their members
window(3)   0 <= q - k,  q - k <= 3   it may be made of
window(3)                   the member that covers most
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterator

from attnmask.define.kind import kinds
from attnmask.define.language import Apply, Const, Named, Node, fold, nodes, sort_of
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.masks.everything import everything
from attnmask.define.masks.nothing import nothing
from attnmask.define.masks.window import window
from attnmask.define.normal.canonical import POSITIONS, Normalizer
from attnmask.define.normal.tabulated import tabulated
from attnmask.define.normal.written import parts_of, written
from attnmask.define.parts.found import AHEAD, Found

AT_MOST = 64  # guesses of one kind that are tried


def named(mask: Mask) -> Mask:
    """The same mask, written by the kinds that it is made of: equal at every position of every frame.

    >>> import attnmask as am
    >>> named(am.trace(lambda b, h, q, k: (k <= q) & (q - k < 4)))
    window(3)
    >>> named(~(am.q < am.k) & (am.sinks(2) | (am.q - am.k < 8)))
    causal() & (sinks(2) | window(7))
    >>> named(~am.causal() | am.same(am.q // 16, am.k // 16) | (am.k <= am.q))
    everything()

    Names that the mask has stay, unless fewer or known ones cover the same. What no kind covers stays a formula.

    Args:
        mask: any mask.
    """
    return _named(mask.node)


@functools.lru_cache(maxsize=256)
def _named(node: Node) -> Mask:
    normalizer = Normalizer(POSITIONS)
    normal = tabulated(fold(node, normalizer))
    if isinstance(normal, Const):
        return everything() if normal.value else nothing()
    own = written(normal, _forms([causal().node, *_own(node)], normalizer))
    if _in_words(own):
        return Mask(own)
    found = Found(tuple(dict.fromkeys(nodes(normal))))
    known = _forms([causal().node, *_own(node), *_guessed(found)], normalizer)
    return Mask(written(normal, known | _beside_causal(normal, found)))


def _forms(parts: list[Node], normalizer: Normalizer) -> dict[Node, Node]:
    """Normal form -> part, for parts and their opposites; of equal ones the first."""
    forms: dict[Node, Node] = {}
    for part in parts + [Apply("~", (part,)) for part in parts]:
        form = tabulated(fold(part, normalizer))
        if not isinstance(form, Const):
            forms.setdefault(form, part)
    return forms


def _own(node: Node) -> Iterator[Node]:
    """The named parts of a mask, and unions of them."""
    if isinstance(node, Named) or (isinstance(node, Apply) and node.op == "|" and _in_words(node)):
        yield node
    if isinstance(node, Named):
        return
    if isinstance(node, Apply) and sort_of(node) == "bool":
        for part in node.args:
            yield from _own(part)


def _in_words(node: Node) -> bool:
    """Whether an expression consists of names alone."""
    if isinstance(node, Apply) and node.op in ("&", "|", "~"):
        return all(map(_in_words, node.args))
    return isinstance(node, Named)


def _guessed(found: Found) -> Iterator[Node]:
    """What the kinds guess."""
    for build in kinds().values():
        guesses = getattr(sys.modules[build.__module__], "guesses", None)
        for guess in itertools.islice(guesses(found) if guesses else (), AT_MOST):
            yield guess.node


def _beside_causal(normal: Node, found: Found) -> dict[Node, Node]:
    """Where the future is hidden anyway, a bound ``q - k <= c`` is a window."""
    if Apply("<=", (Const(0), AHEAD)) not in parts_of("&", normal):
        return {}
    return {Apply("<=", (AHEAD, Const(left))): window(left).node for left in found.at_most(AHEAD) if left >= 0}
