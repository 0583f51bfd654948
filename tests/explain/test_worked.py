"""The worked example against numbers computed by hand.

x1 = (1, 2, 0, 0) and x2 = (0, 1, 1, 0); Wq is the identity, Wk twice the identity, Wv turns a vector round. So
q1 = x1, k1 = 2 x1, v1 = (0, 0, 2, 1), v2 = (0, 1, 1, 0), and the scores are A = q1 k1 = 2 + 8 = 10,
B = q1 k2 = 4, C = q2 k1 = 4, D = q2 k2 = 2 + 2 = 4. Divided by sqrt(4): 5, 2, 2, 2.
"""

import json
import math

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import FrameError, InputError, NotationError
from attnmask.explain.worked import explain

X = np.array([[1, 2, 0, 0], [0, 1, 1, 0]])
WEIGHTS = (np.eye(4), 2 * np.eye(4), np.eye(4)[::-1])
FIRST = math.exp(5) / (math.exp(5) + math.exp(2))  # weight of the first key in row 1, without the mask


def by_hand(mask="causal()"):
    return explain("Hello there", mask, inputs=X, weights=WEIGHTS)


def values(symbol, mask="causal()"):
    return by_hand(mask).step(symbol).values


def sets(example, symbol):
    step = example.step(symbol)
    rows, columns = step.values.shape
    return [[set(example.sources(symbol, row, column)) for column in range(columns)] for row in range(rows)]


def test_projections():
    assert values("Q").tolist() == [[1, 2, 0, 0], [0, 1, 1, 0]]
    assert values("K").tolist() == [[2, 4, 0, 0], [0, 2, 2, 0]]
    assert values("V").tolist() == [[0, 0, 2, 1], [0, 1, 1, 0]]


def test_scores_a_b_c_d():
    assert values("I").tolist() == [[10, 4], [4, 4]]
    assert values("S").tolist() == [[5, 2], [2, 2]]


def test_mask_and_masked_scores():
    assert values("M").tolist() == [[0, -math.inf], [0, 0]]
    assert values("S + M").tolist() == [[5, -math.inf], [2, 2]]


def test_weights_with_and_without_the_mask():
    assert values("A without M") == pytest.approx(np.array([[FIRST, 1 - FIRST], [0.5, 0.5]]), abs=1e-15)
    assert values("A").tolist() == [[1, 0], [0.5, 0.5]]


def test_without_the_mask_row_1_has_peeked():
    other = 1 - FIRST
    assert values("F without M")[0] == pytest.approx([0, other, 2 * FIRST + other, FIRST], abs=1e-15)


def test_with_the_mask_row_1_is_v1_exactly():
    assert values("F")[0].tobytes() == values("V")[0].tobytes()
    assert values("F")[1].tolist() == [0, 0.5, 1.5, 0.5]


def test_whose_information_is_where():
    example = by_hand()
    for symbol in "XQKV":
        assert sets(example, symbol) == [[{0}] * 4, [{1}] * 4]
    assert sets(example, "I") == sets(example, "S") == [[{0}, {0, 1}], [{0, 1}, {1}]]
    assert sets(example, "S + M") == [[{0}, set()], [{0, 1}, {1}]]
    assert sets(example, "A without M") == [[{0, 1}] * 2] * 2
    assert sets(example, "A") == [[{0}, set()], [{0, 1}, {0, 1}]]
    assert sets(example, "F without M") == [[{0, 1}] * 4] * 2
    assert sets(example, "F") == [[{0}] * 4, [{0, 1}] * 4]


def test_cells_that_hold_what_the_mask_forbids():
    example = by_hand()
    flagged = {step.symbol: np.argwhere(step.forbidden).tolist() for step in example.steps if step.forbidden.any()}
    assert flagged == {
        "I": [[0, 1, 1]],
        "S": [[0, 1, 1]],
        "A without M": [[0, 0, 1], [0, 1, 1]],
        "F without M": [[0, column, 1] for column in range(4)],
    }


def test_a_mask_that_is_not_causal():
    """Each token sees only the other one: row t is the other's value, but its own token chose the weight."""
    example = by_hand("~same(q, k)")
    assert example.step("F").values.tolist() == [[0, 1, 1, 0], [0, 0, 2, 1]]
    assert sets(example, "F") == [[{0, 1}] * 4] * 2
    assert not any(step.forbidden.any() for step in example.steps)
    assert example.proof == ()
    assert "the row is v2 itself, whatever the query" in " ".join(example.text().split())


def test_a_mask_that_hides_the_token_itself_from_its_row():
    example = explain("a b c", "~same(q, k)")
    assert sets(example, "F") == [[{0, 1, 2}] * 4] * 3
    assert "its own value is hidden; its own" in example.text()


def test_a_row_that_sees_nothing_is_zero_and_holds_nothing():
    example = by_hand("k < q")
    assert example.step("A").values.tolist() == [[0, 0], [1, 0]]
    assert example.step("F").values.tolist() == [[0, 0, 0, 0], [0, 0, 2, 1]]
    assert sets(example, "F") == [[set()] * 4, [{0, 1}] * 4]
    assert "sees nothing: exactly zero" in example.text()


def test_shifted_targets():
    targets = [(target.context, target.token, target.visible) for target in explain("I love it").targets]
    assert targets == [(("I",), "love", False), (("I", "love"), "it", False), (("I", "love", "it"), None, False)]


def test_a_mask_that_shows_the_target_says_so():
    assert [target.visible for target in explain("I love it", am.everything()).targets] == [True, True, False]


def test_the_default_numbers_can_be_followed_by_hand():
    example = explain("I love it")
    for symbol, step in (("X", 0.1), ("Wq", 0.5), ("Wk", 0.5), ("Wv", 0.5)):
        multiples = example.step(symbol).values / step
        assert multiples == pytest.approx(multiples.round(), abs=1e-9)
        assert abs(example.step(symbol).values).max() <= 1
    assert (explain("I love it", seed=1).step("X").values != example.step("X").values).any()
    assert explain("I love it", dim=6).step("Q").values.shape == (3, 6)


def test_batch_0_and_head_0_are_explained():
    example = explain("a b c", am.padding([2, 1]))
    assert example.visible.tolist() == [[True, True, False]] * 3
    assert "differs over 2 batches and 1 heads; this is batch 0, head 0" in example.text().replace("\n", " ")


def test_tokens_are_taken_as_they_are():
    assert explain(["a b", "c"]).tokens == ("a b", "c")
    assert explain(" a\n b ").tokens == ("a", "b")


def test_json_holds_everything_and_is_plain():
    content = json.loads(by_hand().to_json(), parse_constant=lambda name: pytest.fail(name))
    steps = {step["symbol"]: step for step in content["steps"]}
    assert steps["M"]["values"] == [[0, "-inf"], [0, 0]]
    assert steps["F"]["sources"][0] == [[0]] * 4
    assert steps["I"]["forbidden"] == [[[], [1]], [[], []]]
    assert content["proof"][0]["holds"] is True
    assert content["targets"][0] == {"context": ["Hello"], "token": "there", "visible": False}
    assert len(content["fills"]) == 16


def test_long_texts():
    example = explain([f"w{place}" for place in range(13)])
    assert "save the example as .html" in example.text()
    assert "Q = X Wq" not in example.text()
    assert "Q = X Wq" in example.html()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((" ",), {}, InputError, "an example has 1 to 32 tokens; got 0 tokens."),
        ((["a"] * 33,), {}, InputError, "an example has 1 to 32 tokens; got 33 tokens."),
        (([1, 2],), {}, InputError, "tokens are texts; got [1, 2]."),
        (("a b", "causal("), {}, NotationError, "a mask is one Python-like expression"),
        (("a b", am.documents([0])), {}, FrameError, "a table covers every position"),
        (("a b",), {"dim": 0}, InputError, "dim is the numbers per vector, at least 1; got dim=0."),
        (("a b",), {"inputs": [[1, 2]]}, InputError, "inputs has the shape (2, 4); got shape (1, 2)."),
        (("a b",), {"weights": WEIGHTS[:2]}, InputError, "weights are Wq, Wk and Wv; got 2 matrices."),
        (("a b",), {"weights": WEIGHTS, "dim": 2}, InputError, "Wq has the shape (2, 2); got shape (4, 4)."),
    ],
)
def test_refusals(arguments, options, error, text):
    with pytest.raises(error) as caught:
        explain(*arguments, **options)
    assert str(caught.value).startswith(text)


def test_an_unknown_step_is_refused():
    with pytest.raises(InputError, match="a step is named by its symbol; got 'Z'"):
        by_hand().step("Z")
