"""A mask may be given as its text wherever a mask is asked for."""

import numpy as np
import pytest

import attnmask as am
from attnmask.errors import NotationError

TEXT = "causal() & window(2)"
MASK = am.parse(TEXT)
X = np.random.default_rng(0).normal(size=(1, 1, 4, 2))

ASKED = {
    "attention": lambda mask: am.attention(X, X, X, mask).tolist(),
    "attention_weights": lambda mask: am.attention_weights(X, X, mask).tolist(),
    "lower": lambda mask: am.lower(mask, 4, "dense").tolist(),
    "export": lambda mask: am.export(mask, "torch.sdpa", 4)["attn_mask"].tolist(),
    "show": lambda mask: am.show(mask, 4).text(),
    "why": lambda mask: am.why(mask, q=3, k=0).text(),
    "plan": lambda mask: str(am.plan(mask, 64, "torch")),
    "implies": lambda mask: str(am.implies(mask, mask)),
    "equivalent": lambda mask: str(am.equivalent(mask, mask)),
    "flow": lambda mask: am.flow([mask, mask], 9).sources(8),
    "explain": lambda mask: am.explain("a b c", mask=mask).text(),
    "check": lambda mask: am.check(lambda x: np.cumsum(x, 1), np.ones((1, 4, 2)), allowed=mask).to_json(),
    "recognize": lambda mask: repr(am.recognize(mask)),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_text_is_the_mask_that_it_says(ask):
    assert ask(TEXT) == ask(MASK)


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_a_text_that_says_no_mask_is_refused(ask):
    with pytest.raises(NotationError):
        ask("causal() and window(2)")
