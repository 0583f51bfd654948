"""``Selection``: which of the visible keys each query takes, decided from q and k when attention runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from attnmask.define.language import Const, Named, join
from attnmask.define.mask import Mask
from attnmask.define.masks.everything import everything
from attnmask.define.text.notation import text_of
from attnmask.errors import MaskError

# What needs positions alone; a selection knows its pairs only once q and k are there.
OF_MASKS = frozenset(name for name in (*vars(Mask), *Mask.__slots__) if not name.startswith("__"))


class NotAMask(MaskError, AttributeError):
    """A selection was asked for what only a mask has."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to select, by its name in ``selections/``, with the numbers it was given."""

    name: str
    args: tuple[int | float, ...]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.args))})"


@dataclass(frozen=True, slots=True, repr=False)
class Selection:
    """Keys that are visible under ``mask`` and that every rule selects, for each query of each head on its own.

    A rule looks at visible keys only: selecting never shows what the mask hides. Each rule decides from the mask
    alone, so the order does not matter; with several, a query takes the keys that all of them select. A selection
    joins masks and other selections with ``&``, compares with ``==`` by structure, and hashes.

    >>> import attnmask as am
    >>> am.causal() & am.top_k(4) & am.padding([5, 3])
    causal() & padding([5, 3]) & top_k(4)
    >>> am.top_k(4) & am.causal() == am.causal() & am.top_k(4)
    True
    >>> am.top_k(4) | am.causal()
    Traceback (most recent call last):
    attnmask.errors.MaskError: a selection only takes away, so it combines with & alone; got top_k(4) | causal(). Join the masks first: (a | b) & top_k(4).

    Attributes:
        mask: what may be seen at all; ``everything()`` where no mask was given.
        rules: what selects.
    """

    mask: Mask
    rules: tuple[Rule, ...]

    @classmethod
    def of(cls, name: str, *args: int | float) -> Selection:
        """The selection by one rule, among everything."""
        return cls(everything(), (Rule(name, args),))

    def __and__(self, other: object) -> Selection:
        return self._joined(other, self.mask, getattr(other, "mask", other))

    def __rand__(self, other: object) -> Selection:
        return self._joined(other, other, self.mask)

    def _joined(self, other: object, first: object, second: object) -> Selection:
        if not isinstance(first, Mask) or not isinstance(second, Mask):
            raise MaskError(
                "a selection combines with masks and selections",
                f"({self!r}) & {type(other).__name__} {str(other)[:60]!r}",
                "Write am.table(array) for a boolean array, am.trace(f) for a function of positions",
            )
        rules = other.rules if isinstance(other, Selection) else ()
        new = tuple(rule for rule in rules if rule not in self.rules)
        return Selection(_both(first, second), self.rules + new)

    def __or__(self, other: object) -> NoReturn:
        self._only_and(f"{self!r} | {other!r}", f"Join the masks first: (a | b) & {self._rules}")

    def __ror__(self, other: object) -> NoReturn:
        self._only_and(f"{other!r} | {self!r}", f"Join the masks first: (a | b) & {self._rules}")

    def __sub__(self, other: object) -> NoReturn:
        self._only_and(f"({self!r}) - {other!r}", f"Write {self!r} & ~other")

    def __rsub__(self, other: object) -> NoReturn:
        self._only_and(f"{other!r} - ({self!r})", f"Select among what shall stay: mask & {self._rules}")

    def __invert__(self) -> NoReturn:
        self._only_and(f"~({self!r})", f"Turn the mask around, not the selection: ~mask & {self._rules}")

    def _only_and(self, got: str, fix: str) -> NoReturn:
        raise MaskError("a selection only takes away, so it combines with & alone", got, fix)

    def __bool__(self) -> NoReturn:
        raise MaskError("a selection has no truth value", f"bool({self!r})", "Combine it with &, not with and")

    def __getattr__(self, name: str) -> Any:
        if name not in OF_MASKS:
            raise AttributeError(f"'Selection' object has no attribute {name!r}")
        raise NotAMask(
            "a selection is decided from q and k, so no position alone says what is visible",
            f"{name!r} of {self!r}",
            "Write am.attention(q, k, v, selection) or am.attention_weights(q, k, selection); "
            "selection.mask is the mask it selects from",
        )

    @property
    def _rules(self) -> str:
        return " & ".join(map(repr, self.rules))

    def __repr__(self) -> str:
        if self.mask == everything():
            return self._rules
        node = self.mask.node
        for rule in self.rules:  # as calls whose arguments print themselves
            node = join("&", node, Named(rule.name, tuple((None, value) for value in rule.args), Const(True)))
        return text_of(node)


def refuse_selection(value: object) -> None:
    """Refuse a selection where only a mask will do."""
    if isinstance(value, Selection):
        value.node  # noqa: B018  # refused by __getattr__, in the words for all that only masks have


def _both(first: Mask, second: Mask) -> Mask:
    """``first & second``, without the mask that stands for none."""
    if first == everything():
        return second
    return first if second == everything() else first & second
