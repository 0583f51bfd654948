"""The worked example as parts of a document: which matrices stand together, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from attnmask.conventions import EMPTY_ROWS, REPLACE
from attnmask.explain.drawing import Drawing, transposed
from attnmask.explain.fills import FillRow
from attnmask.explain.labels import set_text, text_label, token_label
from attnmask.explain.parts import Equation, Grid, Part, Section, Table, Words
from attnmask.explain.proof import DRAWS, Claim
from attnmask.explain.steps import OPEN

if TYPE_CHECKING:
    from attnmask.explain.worked import Explanation


def tell(example: Explanation, *, numbers: bool) -> Iterator[Part]:
    """The whole document; without ``numbers`` only the mask and whose information is where."""
    yield from _opening(example, numbers)
    seen, pairs = int(example.visible.sum()), example.visible.size
    counted = Words(
        f"{example.mask}: {seen} of {pairs} pairs visible. A row is a query, and shows which tokens it may look at."
    )
    yield Section("The mask", (counted, _mask_grid(example)))
    if numbers:
        yield from _computation(Drawing(example))
    yield Section("Whose information is in each output row", tuple(_holders(example)))
    yield Section("The proof", tuple(_proof(example)))
    yield Section("What each position is trained to predict", tuple(_targets(example)))
    yield Section("Why not add -1e9?", tuple(_fills(example.fills)))


def _opening(example: Explanation, numbers: bool) -> Iterator[Words]:
    tokens = len(example.tokens)
    yield Words(
        f"{tokens} tokens, counted from 1 as in formulas, vectors of {example.step('X').values.shape[1]} numbers, "
        "one head, float64. A set such as {1,2} names the tokens whose information is in a cell; ! marks (and a red "
        "frame in drawings) a cell that holds a token which the mask hides from its row."
    )
    if example.places != (1, 1):
        batch, heads = example.places
        yield Words(f"The mask differs over {batch} batches and {heads} heads; this is batch 0, head 0.")
    if not numbers:
        yield Words(f"With {tokens} tokens the matrices are too wide for text: save the example as .html to see them.")


def _mask_grid(example: Explanation) -> Grid:
    labels = tuple(map(token_label, example.tokens))
    kinds = np.where(example.visible, "visible", "hidden")
    diagonal = tuple((row, row) for row in range(len(labels)))
    return Grid(tuple(map(tuple, kinds.tolist())), labels, labels, outlined=diagonal)


def _computation(draw: Drawing) -> Iterator[Section]:
    """From vectors to outputs; each section draws the matrices that it makes out of earlier ones."""
    last = len(draw.labels) - 1
    yield Section("Each token is a vector", (draw.matrix("X"),))
    yield Section("Each vector makes a query, a key and a value", (Words(PROJECTIONS), *_projections(draw)))
    scores = Equation((draw.matrix("Q"), transposed(draw.matrix("K")), draw.matrix("I")), ("×", "="))
    yield Section("Every query meets every key: the scores", (Words(SCORES), scores, _by_hand(draw, "I", 0, last)))
    masked = Equation((draw.matrix("S"), draw.matrix("M"), draw.matrix("S + M")), ("+", "="))
    yield Section("Scale, then mask", (Words(MASKED), masked))
    weights = Equation((draw.matrix("A" + OPEN), draw.matrix("A")), ("",))
    yield Section("Softmax: scores become weights", (Words(WEIGHTS), weights))
    yield Section("The output: weights times values", (*_outputs(draw), _by_hand(draw, "F", last, 0)))


def _projections(draw: Drawing) -> Iterator[Equation]:
    for made in "QKV":
        yield Equation((draw.matrix("X"), draw.matrix("W" + made.lower()), draw.matrix(made)), ("×", "="))


def _outputs(draw: Drawing) -> Iterator[Equation]:
    for ending in (OPEN, ""):
        yield Equation((draw.matrix("A" + ending), draw.matrix("V"), draw.matrix("F" + ending)), ("×", "="))


def _by_hand(draw: Drawing, symbol: str, row: int, column: int) -> Words:
    return Words(f"By hand: {draw.products(symbol, row, column)}.")


PROJECTIONS = "A query asks, a key answers, a value is what is handed over. Row t is made of token t alone."
SCORES = "The cell of query t and key s holds both tokens, later ones as well: this is where a model peeks."
MASKED = "Adding -inf is the same as replacing: nothing is left of the score, so a closed cell holds no token."
WEIGHTS = "The open cells of a row are positive and sum to 1; each holds what all open scores of the row hold."


def _holders(example: Explanation) -> Iterator[Part]:
    yield Words(
        "Values come from visible keys only. A row also holds its own token, which made the query that chose "
        "the weights, even where the mask hides the key at its own position. A row that sees nothing is zero and holds "
        "nothing, not even its own token. A set follows the formula and misses no token; a row whose weight is all on "
        "one key may hold less than its set."
    )
    rows = []
    for row, token in enumerate(example.tokens):
        before, after = (example.sources(symbol, row, 0) for symbol in ("F" + OPEN, "F"))
        seen = set_text(np.flatnonzero(example.visible[row]).tolist())
        rows.append(
            (f"f{row + 1} {token_label(token)}", seen, set_text(before), set_text(after), _row_note(example, row))
        )
    yield Table(("row", "visible keys", "holds without mask", "holds with mask", "note"), tuple(rows))


def _row_note(example: Explanation, row: int) -> str:
    seen = np.flatnonzero(example.visible[row]).tolist()
    if not seen:
        return "sees nothing: exactly zero"
    if len(seen) == 1:
        return f"one visible key has weight 1: the row is v{seen[0] + 1} itself, whatever the query"
    return "" if row in seen else "its own value is hidden; its own token is in the query"


def _proof(example: Explanation) -> Iterator[Part]:
    if not example.proof:
        yield Words("The mask hides no token from another, so there is nothing to prove.")
        return
    first = example.proof[0]
    yield Words(_claim_sentence(first))
    yield Words(
        f"The same for every row and every token that is hidden from it, {DRAWS} random vectors for each token:"
    )
    grouped = groupby(example.proof, key=lambda claim: claim.row)
    yield Table(
        ("row", "hidden from it", "holds without", "holds with", "moved without", "moved with", "proved"),
        tuple(_proof_row(row, list(claims)) for row, claims in grouped),
    )


def _claim_sentence(claim: Claim) -> str:
    row, token = f"f{claim.row + 1}", f"x{claim.token + 1}"
    kept = "kept every byte" if claim.same_bytes else f"MOVED by up to {claim.change_after:.4f}"
    return (
        f"Row {row} of F {'holds nothing of' if claim.holds else 'HOLDS SOMETHING OF'} {token}. By its set: with the "
        f"mask {row} holds {set_text(claim.after)}, without it {set_text(claim.before)}. By numbers: {token} was "
        f"replaced by {DRAWS} other vectors, and with the mask {row} {kept}; without it, it moved by up to "
        f"{claim.change_before:.4f}."
    )


def _proof_row(row: int, claims: Sequence[Claim]) -> tuple[str, ...]:
    return (
        f"f{row + 1}",
        set_text(claim.token for claim in claims),
        set_text(claims[0].before),
        set_text(claims[0].after),
        f"at least {min(claim.change_before for claim in claims):.4f}",
        "not one bit" if all(claim.same_bytes for claim in claims) else "it moved",
        "yes" if all(claim.holds for claim in claims) else "NO",
    )


def _targets(example: Explanation) -> Iterator[Part]:
    yield Words("In training all positions are computed at once, and the target of each is the token after it.")
    rows = tuple(
        (
            text_label(target.context),
            "nothing follows" if target.token is None else token_label(target.token),
            "" if target.token is None else "yes: it can copy the answer" if target.visible else "no: it must predict",
        )
        for target in example.targets
    )
    yield Table(("the tokens so far", "target", "may the position see its target?"), rows)


def _fills(fills: Sequence[FillRow]) -> Iterator[Part]:
    yield Words(
        "What a fill does that is added to the scores, every operation computed in the number format itself: the fill "
        "as it is stored; its exponential; what an empty row gives, that is, one whose keys are all hidden (scores 2, "
        "1, 0); the fill added twice, as two masks would; and the weight of a hidden key with a score of +1e4 beside "
        "a visible key with a score of 0."
    )
    yield Table(
        ("dtype", "fill", "stored", "exp", "empty row", "twice", "+1e4", "verdict"),
        tuple(
            (
                row.dtype,
                row.fill,
                f"{row.stored:.3g}",
                f"{row.exp:g}",
                row.empty_row_is,
                f"{row.twice:.3g}",
                f"{row.undone:g}",
                row.verdict,
            )
            for row in fills
        ),
    )
    yield from map(Words, WHY_REPLACE)


WHY_REPLACE = (
    "exp(-1e9) underflows to exactly 0 in float32, so a hidden key beside a visible one has weight 0: that is why the "
    "trick works at all.",
    "In float16 -1e9 is stored as -inf, and the softmax of an empty row takes -inf from -inf: NaN.",
    "In float32 -1e9 swallows every score it is added to, so an empty row is uniform over everything, forbidden keys "
    "included. In float64 it swallows none: the row is attended as if there were no mask.",
    "-1e4 can be learned away: a score of +1e4 brings a hidden key back to the weight of a visible key of score 0.",
    "Replacing beats adding: what stands in a hidden place then no longer depends on the score, so nothing can be "
    f"learned away, swallowed or added twice. {REPLACE.title}: {REPLACE.text[0].lower()}{REPLACE.text[1:]}",
    f"{EMPTY_ROWS.title}. {EMPTY_ROWS.text}",
)
