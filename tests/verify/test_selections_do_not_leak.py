"""``am.check`` on models that select by content: those of the library pass, the usual slips are caught."""

import pytest
import torch

import attnmask as am
from attnmask.run.selected import torch as selected
from tests.verify.models import Embedded

IDS = torch.arange(14)[None] % 11
RULES = [am.top_k(2), am.top_k_blocks(2, 3), am.threshold(0.02), am.top_k_blocks(1, 4) & am.top_k(2)]


class Selects(Embedded):
    """Two heads of attention under ``causal() & rule``."""

    def __init__(self, rule):
        super().__init__()
        self.qkv = torch.nn.Linear(16, 48)
        self.rule = rule

    def heads(self, x):
        return (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))

    def mix(self, x):
        output = am.attention(*self.heads(x), am.causal() & self.rule)
        return x + output.transpose(1, 2).flatten(2)


class WholeBlockMean(Selects):
    """Ranks blocks by the mean of all their keys, as one pooled key per block does."""

    def mix(self, x):
        q, k, v = self.heads(x)
        pooled = torch.nn.functional.pad(k, (0, 0, 0, 1)).unflatten(2, (-1, 3)).mean(3)
        seen = am.causal().dense(14)[0, 0, :, ::3]
        best = (q @ pooled.mT).masked_fill(~torch.tensor(seen), -torch.inf).topk(2, -1).indices
        chosen = (
            torch.zeros(len(q), 2, 14, 5, dtype=torch.bool).scatter(-1, best, True).repeat_interleave(3, -1)[..., :14]
        )
        visible = chosen & torch.tensor(am.causal().dense(14))
        return x + torch.nn.functional.scaled_dot_product_attention(q, k, v, visible).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("rows", [None, 4])
def test_no_leak(rule, rows, monkeypatch):
    if rows:
        monkeypatch.setattr(selected, "rows_of", lambda copies, frame: rows)
    report = am.check(Selects(rule), IDS, allowed=am.causal())
    assert report.ok, report.text()
    assert report.verdict == "no leak seen"


def assert_caught(model):
    report = am.check(model, IDS, allowed=am.causal())
    assert report.verdict == "leak"
    assert all(leak.key > leak.query for leak in report.leaks)


def test_mean_over_the_whole_block_is_caught():
    assert_caught(WholeBlockMean(None))


# The engine with one line changed, so that the tests above are known to see such a change.


def blocks_by_whole_mean(scores, visible, k, size):
    means = torch.nn.functional.pad(scores, (0, -scores.shape[-1] % size)).unflatten(-1, (-1, size)).mean(-1)
    seen = torch.nn.functional.pad(visible, (0, -scores.shape[-1] % size)).unflatten(-1, (-1, size)).any(-1)
    return visible & selected._top_k(means, seen, k).repeat_interleave(size, -1)[..., : scores.shape[-1]]


def chosen_for_a_block_of_queries(scores, visible, k, size):
    shared = scores.masked_fill(~visible, 0.0).mean(-2, keepdim=True).expand_as(scores)
    return original(shared, visible, k, size)


original = selected._top_k_blocks


@pytest.mark.parametrize(
    ("name", "broken", "rule"),
    [
        ("top_k_blocks", blocks_by_whole_mean, am.top_k_blocks(2, 3)),
        ("top_k_blocks", chosen_for_a_block_of_queries, am.top_k_blocks(2, 3)),
        (
            "top_k",
            lambda scores, visible, k: selected._top_k(scores, torch.ones_like(scores, dtype=torch.bool), k),
            am.top_k(2),
        ),
        ("threshold", lambda scores, visible, x: scores >= scores.mean(-1, keepdim=True), am.threshold(0.0)),
    ],
    ids=["mean of the whole block", "one choice for all queries", "ranked before masking", "a threshold of all scores"],
)
def test_a_broken_engine_is_caught(name, broken, rule, monkeypatch):
    monkeypatch.setitem(selected.RULES, name, broken)
    assert_caught(Selects(rule))
