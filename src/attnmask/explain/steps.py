"""The worked example in numbers: every matrix from X to F, and the tokens whose information is in each of its cells.

A cell's tokens are found by the same rules that make its number: row t of X, Q, K, V holds {t}; the score of query t
with key s holds {t, s}; a score that the mask closes is -inf whatever the tokens are, so it holds nothing; a weight
holds what all open scores of its row hold; row t of F holds what its weights hold and the tokens whose values it adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Booleans = NDArray[np.bool_]

OPEN = " without M"  # ends the symbol of a matrix that ignores the mask


@dataclass(frozen=True, eq=False)
class Step:
    """One matrix of the worked example.

    Args:
        symbol: its name in formulas, such as ``"Q"``.
        formula: what it is made of, in words.
        values: the numbers (rows, columns).
        sources: True where a token's information is in a cell (rows, columns, tokens).
        forbidden: of these, the tokens that the mask hides from the row's query (rows, columns, tokens).
    """

    symbol: str
    formula: str
    values: Array
    sources: Booleans
    forbidden: Booleans


def make_inputs(tokens: int, dim: int, rng: np.random.Generator) -> Array:
    """Vectors of tokens with one decimal, (tokens, dim)."""
    return rng.integers(-10, 11, (tokens, dim)) / 10


def make_weights(dim: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Wq, Wk, Wv (dim, dim) of halves, so that products can be followed by hand."""
    wq, wk, wv = rng.integers(-2, 3, (3, dim, dim)) / 2
    return wq, wk, wv


def softmax(scores: Array, visible: Booleans) -> Array:
    """Each row over its visible keys: positive numbers with sum 1; a row that sees nothing is zero."""
    weights = np.zeros_like(scores)
    for row, open_keys in enumerate(visible):
        if open_keys.any():
            raised = np.exp(scores[row, open_keys] - scores[row, open_keys].max())
            weights[row, open_keys] = raised / raised.sum()
    return weights


def outputs(weights: Array, values: Array, visible: Booleans) -> Array:
    """Each row adds the values of its visible keys only: a hidden value is not even multiplied by zero."""
    rows = [weights[row, open_keys] @ values[open_keys] for row, open_keys in enumerate(visible)]
    return np.array(rows).reshape(len(rows), values.shape[1])


def attend(inputs: Array, weights: Sequence[Array], visible: Booleans) -> Array:
    """F: the whole computation at once (tokens, dim)."""
    queries, keys, values = (inputs @ weight for weight in weights)
    scores = queries @ keys.T / np.sqrt(keys.shape[1])
    return outputs(softmax(scores, visible), values, visible)


def own_sources(tokens: int) -> Booleans:
    """Row t holds {t}: (tokens, 1, tokens)."""
    return np.eye(tokens, dtype=bool)[:, None, :]


def score_sources(visible: Booleans) -> Booleans:
    """An open score holds its query's and its key's token, a closed one nothing: (tokens, tokens, tokens)."""
    own = own_sources(len(visible))
    both: Booleans = (own | own.transpose(1, 0, 2)) & visible[:, :, None]
    return both


def weight_sources(visible: Booleans) -> Booleans:
    """An open weight holds what all open scores of its row hold, through the sum it is divided by."""
    row = score_sources(visible).any(axis=1, keepdims=True)
    return row & visible[:, :, None]


def output_sources(visible: Booleans) -> Booleans:
    """Row t holds what its weights hold and the visible values: (tokens, 1, tokens)."""
    used: Booleans = (weight_sources(visible) | own_sources(len(visible)).transpose(1, 0, 2)) & visible[:, :, None]
    row: Booleans = np.logical_or.reduce(used, axis=1, keepdims=True)
    return row


def hidden_from(visible: Booleans) -> Booleans:
    """Tokens that the mask hides from each query (tokens, tokens).

    A query's own token is never counted: it makes the query, and so is in every row that sees anything, even where
    the mask hides the key at its own position.
    """
    return ~visible & ~np.eye(len(visible), dtype=bool)


def work(inputs: Array, weights: Sequence[Array], visible: Booleans) -> tuple[Step, ...]:
    """All steps in order."""
    wq, wk, wv = weights
    tokens, hidden = len(visible), hidden_from(visible)
    seen_all, own = np.ones_like(visible), own_sources(len(visible))
    queries, keys, values = inputs @ wq, inputs @ wk, inputs @ wv
    dim = keys.shape[1]
    scores = queries @ keys.T
    scaled = scores / np.sqrt(dim)
    free, masked = softmax(scaled, seen_all), softmax(scaled, visible)
    nothing = np.zeros((1, 1, tokens), dtype=bool)

    def plain(symbol: str, formula: str, matrix: Array, sources: Booleans = own) -> Step:
        return Step(symbol, formula, matrix, *_spread(matrix, sources, nothing))

    def by_query(symbol: str, formula: str, matrix: Array, sources: Booleans) -> Step:
        return Step(symbol, formula, matrix, *_spread(matrix, sources, sources & hidden[:, None, :]))

    return (
        plain("X", "X: the input, one row per token", inputs),
        plain("Wq", "Wq: the weights that make queries", wq, nothing),
        plain("Wk", "Wk: the weights that make keys", wk, nothing),
        plain("Wv", "Wv: the weights that make values", wv, nothing),
        plain("Q", "Q = X Wq: the queries", queries),
        plain("K", "K = X Wk: the keys", keys),
        plain("V", "V = X Wv: the values", values),
        by_query("I", "I = Q K^T: the scores", scores, score_sources(seen_all)),
        by_query("S", f"S = I / sqrt({dim}): the scaled scores", scaled, score_sources(seen_all)),
        plain("M", "M: the mask, 0 = visible, -inf = hidden", np.where(visible, 0.0, -np.inf), nothing),
        by_query("S + M", "S + M: the masked scores", np.where(visible, scaled, -np.inf), score_sources(visible)),
        by_query(
            "A" + OPEN, "A without M = softmax(S) per row: the weights without the mask", free, weight_sources(seen_all)
        ),
        by_query("A", "A = softmax(S + M) per row: the weights with the mask", masked, weight_sources(visible)),
        by_query(
            "F" + OPEN,
            "F without M = (A without M) V: the output without the mask",
            outputs(free, values, seen_all),
            output_sources(seen_all),
        ),
        by_query("F", "F = A V: the output with the mask", outputs(masked, values, visible), output_sources(visible)),
    )


def _spread(matrix: Array, *sources: Booleans) -> tuple[Booleans, ...]:
    return tuple(np.broadcast_to(part, (*matrix.shape, part.shape[-1])) for part in sources)
