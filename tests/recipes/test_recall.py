"""Recall: sequences ask what they listed; blocks chosen by content answer, a window of the same cost cannot."""

import torch

import attnmask as am
from attnmask.recipes import recall

SMALL = recall.Task(pairs=24, asked=24, keys=24, values=8)


def test_a_sequence_asks_for_what_it_listed():
    tokens, answers = SMALL.draw(6, torch.Generator().manual_seed(0))
    assert tokens.shape == (6, SMALL.length)
    for row, wanted in zip(tokens.tolist(), answers.tolist(), strict=True):
        listed = dict(zip(row[: 2 * SMALL.pairs : 2], row[1 : 2 * SMALL.pairs : 2], strict=True))
        assert len(listed) == SMALL.pairs
        questions = row[2 * SMALL.pairs :: 2]
        assert len(set(questions)) == SMALL.asked
        assert [listed[key] - SMALL.keys for key in questions] == wanted
        assert [value - SMALL.keys for value in row[2 * SMALL.pairs + 1 :: 2]] == wanted


def test_blocks_and_window_cost_the_same():
    """No query takes more keys of one than of the other."""
    blocks, window = recall.MASKS["blocks"], recall.MASKS["window"]
    q, k = torch.randn(2, 1, 4, 160, 16, generator=torch.Generator().manual_seed(0))
    taken = (am.attention_weights(q, k, blocks) > 0).sum(-1)
    seen = torch.from_numpy(window.dense(160)).sum(-1)
    assert int(taken.max()) == int(seen.max()) == recall.BLOCKS * recall.SIZE


def test_nothing_is_seen_ahead():
    tokens, _ = SMALL.draw(1, torch.Generator().manual_seed(0))
    for mask in recall.MASKS.values():
        report = am.check(recall.Model(SMALL, mask), tokens[:, :24])
        assert report.ok, report


def test_blocks_recall_what_a_window_cannot():
    blocks, window = (
        recall.accuracy(recall.train(SMALL, recall.MASKS[name], steps=120, rate=0.01)) for name in ("blocks", "window")
    )
    assert blocks > 0.85
    assert window < 0.3  # chance is 1 in 8
