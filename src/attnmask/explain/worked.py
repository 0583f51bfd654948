"""``explain``: attention on a few tokens worked through by hand, with every matrix and whose information is in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnmask.define.frame import Frame
from attnmask.define.mask import Mask
from attnmask.define.masks.causal import causal
from attnmask.define.text.parse import given
from attnmask.errors import InputError
from attnmask.explain.document import Document
from attnmask.explain.fills import FillRow, study
from attnmask.explain.labels import text_label
from attnmask.explain.parts import Part
from attnmask.explain.proof import Claim, prove
from attnmask.explain.steps import Array, Booleans, Step, make_inputs, make_weights, work
from attnmask.explain.story import tell
from attnmask.lower.grid import dense
from attnmask.page import escape

CAUSAL = causal()
TEXT_TOKENS = 12  # more would make text too wide for numbers
MOST_TOKENS = 32


@dataclass(frozen=True)
class Target:
    """What one position is trained to predict: the token after its context, or None at the end.

    ``visible`` says whether the mask lets the position see its target.
    """

    context: tuple[str, ...]
    token: str | None
    visible: bool


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Document):
    """Attention on tokens under a mask, step by step: ``text()``, ``svg()``, ``html()``, ``to_json()``, ``save(path)``.

    Args:
        tokens: the text of each position.
        mask: the mask.
        visible: the mask over the tokens (tokens, tokens), of batch 0 and head 0.
        places: how many batches and heads the mask differs over.
        steps: every matrix, from X to F.
        proof: for every output row and every token hidden from it, that the row holds nothing of the token.
    """

    tokens: tuple[str, ...]
    mask: Mask
    visible: Booleans
    places: tuple[int, int]
    steps: tuple[Step, ...]
    proof: tuple[Claim, ...]

    @property
    def title(self) -> str:
        """The text and the mask."""
        return f"Attention on “{text_label(self.tokens)}” with {self.mask}, step by step"

    def describe(self, output: str) -> Sequence[Part]:
        """All parts; text of more than 12 tokens leaves the matrices out."""
        return list(tell(self, numbers=output != "text" or len(self.tokens) <= TEXT_TOKENS))

    def step(self, symbol: str) -> Step:
        """One matrix by its symbol.

        >>> import attnmask as am
        >>> am.explain("Hello there").step("Q").values.shape
        (2, 4)
        """
        found = {step.symbol: step for step in self.steps}
        if symbol not in found:
            raise InputError("a step is named by its symbol", repr(symbol), f"Write one of {', '.join(found)}")
        return found[symbol]

    def sources(self, symbol: str, row: int, column: int) -> frozenset[int]:
        """The tokens, counted from 0, whose information is in a cell.

        >>> import attnmask as am
        >>> example = am.explain("Hello there")
        >>> sorted(example.sources("F without M", 0, 0)), sorted(example.sources("F", 0, 0))
        ([0, 1], [0])
        """
        return frozenset(np.flatnonzero(self.step(symbol).sources[row, column]).tolist())

    @property
    def targets(self) -> tuple[Target, ...]:
        """What each position is trained to predict.

        >>> import attnmask as am
        >>> for target in am.explain("I love it").targets:
        ...     print(target.context, target.token, target.visible)
        ('I',) love False
        ('I', 'love') it False
        ('I', 'love', 'it') None False
        """
        last = len(self.tokens) - 1
        return tuple(
            Target(
                self.tokens[: at + 1],
                self.tokens[at + 1] if at < last else None,
                bool(at < last and self.visible[at, at + 1]),
            )
            for at in range(last + 1)
        )

    @cached_property
    def fills(self) -> tuple[FillRow, ...]:
        """What -inf, -1e9, -1e4 and the lowest number do in each format when they are added to scores."""
        return study()

    def to_json(self) -> str:
        """Everything as JSON; tokens are counted from 0, and numbers that JSON has no word for are texts."""
        content = {
            "tokens": self.tokens,
            "mask": repr(self.mask),
            "visible": self.visible.tolist(),
            "steps": [_step_json(step) for step in self.steps],
            "proof": [{**dataclasses.asdict(claim), "holds": claim.holds} for claim in self.proof],
            "targets": [dataclasses.asdict(target) for target in self.targets],
            "fills": [{**dataclasses.asdict(row), "verdict": row.verdict} for row in self.fills],
        }
        return json.dumps(_plain(content), ensure_ascii=True)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        # A frame of its own keeps the page's style off the notebook, and the notebook's off the page.
        frame = f'<iframe srcdoc="{escape(self.html())}" sandbox style="width:100%;height:48rem;border:0"></iframe>'
        return {"text/plain": self.text(), "text/html": frame}


def explain(
    text_or_tokens: str | Sequence[str],
    mask: Mask | str = CAUSAL,
    *,
    dim: int = 4,
    seed: int = 0,
    inputs: Any = None,
    weights: Any = None,
) -> Explanation:
    """Attention on a text under a mask, worked through: every matrix, its numbers, and whose information is in it.

    ``F = softmax(X Wq (X Wk)^T / sqrt(dim) + M) X Wv``, with and without the mask M; which tokens are in each cell;
    a proof that no output row holds a token that the mask hides from it; what each position is trained to predict;
    and what goes wrong when the mask is a finite number that is added.

    >>> import attnmask as am
    >>> example = am.explain("Hello there")
    >>> example.step("A").values[0]
    array([1., 0.])
    >>> all(claim.holds for claim in example.proof)
    True
    >>> am.explain("Hello there", "everything()").proof
    ()

    Args:
        text_or_tokens: a text, split at white space, or a list of tokens; 1 to 32 tokens.
        mask: a mask, or its notation. Where it differs by batch or head, batch 0 and head 0 are explained.
        dim: numbers per vector.
        seed: which random numbers X and the weights are.
        inputs: X itself (tokens, dim).
        weights: Wq, Wk, Wv, each (dim, dim).

    Raises:
        InputError: no tokens, too many, or matrices of other shapes.
        FrameError: the mask's tables do not cover the tokens.
        NotationError: the mask is a text that is not a mask.
    """
    tokens = _tokens(text_or_tokens)
    mask = given(mask)
    table = dense(mask, Frame(len(tokens)))
    rng = np.random.default_rng(seed)
    _check_dim(dim)
    x = _matrix("inputs", make_inputs(len(tokens), dim, rng) if inputs is None else inputs, (len(tokens), dim))
    w = make_weights(dim, rng) if weights is None else tuple(weights)
    if len(w) != 3:
        raise InputError("weights are Wq, Wk and Wv", f"{len(w)} matrices", "Write weights=(wq, wk, wv)")
    w = tuple(_matrix(name, value, (dim, dim)) for name, value in zip(("Wq", "Wk", "Wv"), w, strict=True))
    visible = table[0, 0]
    return Explanation(
        tokens, mask, visible, (table.shape[0], table.shape[1]), work(x, w, visible), prove(x, w, visible, seed)
    )


def _tokens(text_or_tokens: str | Sequence[str]) -> tuple[str, ...]:
    tokens = text_or_tokens.split() if isinstance(text_or_tokens, str) else list(text_or_tokens)
    if not all(isinstance(token, str) for token in tokens):
        raise InputError("tokens are texts", repr(tokens)[:60], "Write [str(token) for token in tokens]")
    if not 1 <= len(tokens) <= MOST_TOKENS:
        raise InputError(
            f"an example has 1 to {MOST_TOKENS} tokens",
            f"{len(tokens)} tokens",
            "Give a few words; am.show(mask, length) shows masks of any size",
        )
    return tuple(tokens)


def _check_dim(dim: int) -> None:
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
        raise InputError("dim is the numbers per vector, at least 1", f"dim={dim!r}", "Write dim=4")


def _matrix(name: str, value: Any, shape: tuple[int, int]) -> Array:
    matrix: NDArray[np.float64] = np.asarray(value, dtype=np.float64)
    if matrix.shape != shape:
        raise InputError(f"{name} has the shape {shape}", f"shape {matrix.shape}", "Give dim= the size of your vectors")
    return matrix


def _step_json(step: Step) -> dict[str, Any]:
    def sets(held: Booleans) -> list[list[list[int]]]:
        return [[np.flatnonzero(cell).tolist() for cell in row] for row in held]

    return {
        "symbol": step.symbol,
        "formula": step.formula,
        "shape": step.values.shape,
        "values": step.values.tolist(),
        "sources": sets(step.sources),
        "forbidden": sets(step.forbidden),
    }


def _plain(value: Any) -> Any:
    """Lists, dicts, numbers and texts only: sets sorted, infinities and NaN as texts."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value
