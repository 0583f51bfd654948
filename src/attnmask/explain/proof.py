"""The proof that an output row holds nothing of a hidden token: by its set of tokens, and by replacing the token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from attnmask.explain.steps import Array, Booleans, attend, hidden_from, make_inputs, output_sources

DRAWS = 4  # random vectors that each token is replaced by


@dataclass(frozen=True)
class Claim:
    """Row ``row`` of F holds nothing of token ``token``, both counted from 0.

    Args:
        row: the output row.
        token: the token that the mask hides from it.
        before: the tokens in the row without the mask.
        after: the tokens in the row with the mask.
        change_before: how much any number of the row moved, at most, when the token was replaced without the mask.
        change_after: the same with the mask.
        same_bytes: with the mask, the row's bytes were the same in every draw.
    """

    row: int
    token: int
    before: frozenset[int]
    after: frozenset[int]
    change_before: float
    change_after: float
    same_bytes: bool

    @property
    def holds(self) -> bool:
        """Neither the sets nor the numbers show the token in the row."""
        return self.token not in self.after and self.same_bytes


def prove(inputs: Array, weights: Sequence[Array], visible: Booleans, seed: int) -> tuple[Claim, ...]:
    """One claim for each output row and each token that the mask hides from it."""
    hidden, rng = hidden_from(visible), np.random.default_rng([seed, 1])
    sets_before, sets_after = (output_sources(seen)[:, 0, :] for seen in (np.ones_like(visible), visible))
    claims = []
    for token in np.flatnonzero(hidden.any(axis=0)).tolist():
        replaced = list(_replaced(inputs, token, rng))
        moved_before, _ = _moved(inputs, replaced, weights, np.ones_like(visible))
        moved_after, same = _moved(inputs, replaced, weights, visible)
        claims += [
            Claim(
                row,
                token,
                frozenset(np.flatnonzero(sets_before[row]).tolist()),
                frozenset(np.flatnonzero(sets_after[row]).tolist()),
                float(moved_before[row]),
                float(moved_after[row]),
                same[row],
            )
            for row in np.flatnonzero(hidden[:, token]).tolist()
        ]
    return tuple(sorted(claims, key=lambda claim: (claim.row, claim.token)))


def _replaced(inputs: Array, token: int, rng: np.random.Generator) -> Iterator[Array]:
    for vector in make_inputs(DRAWS, inputs.shape[1], rng):
        changed = inputs.copy()
        # The first number always differs, so that no draw is the old vector by chance.
        changed[token] = vector + np.eye(len(vector))[0] * 3 * (1 + abs(inputs[token]).max())
        yield changed


def _moved(
    inputs: Array, replaced: Sequence[Array], weights: Sequence[Array], visible: Booleans
) -> tuple[Array, list[bool]]:
    """Per output row, how far it moved at most, and whether its bytes stayed the same."""
    old = attend(inputs, weights, visible)
    new = [attend(changed, weights, visible) for changed in replaced]
    same = [all(old[row].tobytes() == other[row].tobytes() for other in new) for row in range(len(old))]
    return np.max([abs(other - old) for other in new], axis=(0, 2)), same
