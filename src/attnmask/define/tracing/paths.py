"""``if``, ``and``, ``or``, ``not`` and chained comparisons: the function is run once for each way through it.

Whenever Python asks a traced mask for its truth value, the run takes the answer that its script says, else True.
Further runs then take the other answers, and the results are joined: ``where(condition, one result, the other)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from attnmask.define.bounds.bounds import bounds
from attnmask.define.language import INDICES, Apply, Node

LONGEST, MOST = 64, 64  # questions on one way, and ways
EVERYWHERE = dict.fromkeys(INDICES, (0, 2**62))


@dataclass
class Paths:
    """The choices of one run: those of the script first, then True; ``beyond`` if there were too many runs before."""

    script: tuple[bool, ...] = ()
    beyond: bool = False
    taken: list[tuple[Node, bool]] = field(default_factory=list)
    known: dict[Node, bool] = field(default_factory=dict)

    def decide(self, node: Node) -> bool:
        """The truth value of a condition on this way."""
        low, high = bounds(node, EVERYWHERE)
        if low == high:  # ``assert q >= 0`` is no question
            return bool(low)
        if node not in self.known:
            place = len(self.taken)
            if place == LONGEST:
                raise TypeError(f"a way through the function asks more than {LONGEST} questions about positions")
            if self.beyond and place == len(self.script) - 1:  # here, for the error to name the line
                raise TypeError(f"there are more than {MOST} ways through the ifs, ands and ors of the function")
            self._learn(node, self.script[place] if place < len(self.script) else True)
        return self.known[node]

    def _learn(self, node: Node, answer: bool) -> None:
        self.taken.append((node, answer))
        self.known |= {node: answer, opposite(node): not answer}

    def following(self) -> tuple[bool, ...] | None:
        """The script of the next way: the last True becomes False."""
        answers = [answer for _, answer in self.taken]
        while answers and not answers[-1]:
            answers.pop()
        return (*answers[:-1], False) if answers else None


def opposite(node: Node) -> Node:
    """The condition that is true where this one is false, as the same function would write it."""
    match node:
        case Apply("~", (inner,)):
            return inner
        case Apply("<" | "<=" as op, (left, right)):
            return Apply("<=" if op == "<" else "<", (right, left))
    return Apply("~", (node,))


def explored(run: Callable[[Paths], Any]) -> list[tuple[Paths, Any]]:
    """Every way through a function, and what it gives there."""
    ways: list[tuple[Paths, Any]] = []
    script: tuple[bool, ...] | None = ()
    while script is not None:
        paths = Paths(script, beyond=len(ways) == MOST)
        ways.append((paths, run(paths)))
        script = paths.following()
    return ways


def joined(ways: list[tuple[Paths, Any]], choose: Callable[[Node, Any, Any], Any], depth: int = 0) -> Any:
    """One value of what each way gives: ``choose(condition, where it is true, where it is false)``."""
    if len(ways) == 1:
        return ways[0][1]
    conditions = {paths.taken[depth][0] for paths, _ in ways}
    if len(conditions) > 1:
        raise TypeError("the function asks other questions when it is called again")
    halves = [[way for way in ways if way[0].taken[depth][1] is answer] for answer in (True, False)]
    return choose(conditions.pop(), *(joined(half, choose, depth + 1) for half in halves))
