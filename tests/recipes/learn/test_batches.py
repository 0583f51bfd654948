import itertools

import pytest
import torch
from tiny_recipe import reversed_digits

from attnmask.errors import InputError
from attnmask.recipes import Example
from attnmask.recipes.learn.batches import NOT_LEARNED, batch, groups, rounds


def test_every_example_comes_once_an_epoch_in_another_order():
    sizes = [example.size for example in reversed_digits(100)]
    an_epoch = len(list(groups(sizes, 50, range(100))))
    found = list(itertools.islice(rounds(sizes, 50, seed=3), 3 * an_epoch))
    flat = [index for found_round in found for group in found_round for index in group]
    assert sorted(flat[:100]) == list(range(100))
    assert sorted(flat[100:200]) == list(range(100))
    assert flat[:100] != flat[100:200]


def test_the_order_follows_from_the_seed():
    first, again, other = (list(itertools.islice(rounds(range(1, 30), 40, seed=seed), 20)) for seed in (1, 1, 2))
    assert first == again != other


def test_groups_keep_the_budget_and_never_are_empty():
    sizes = [3, 50, 2, 2, 9, 1]
    for group in groups(sizes, 10, range(6)):
        assert group
        assert len(group) == 1 or sum(sizes[index] for index in group) <= 10


def test_each_process_has_its_own_group():
    one = list(itertools.islice(rounds([5] * 20, 10, seed=0), 10))
    two = list(itertools.islice(rounds([5] * 20, 10, seed=0, processes=2), 5))
    assert [group for found in two for group in found] == [group for found in one for group in found]


def test_too_few_batches_for_the_processes_are_refused():
    with pytest.raises(InputError, match="an epoch has a batch for each process; got 1 batches"):
        next(rounds([5, 5], 10, seed=0, processes=2))


def test_what_is_given_is_not_learned():
    found = batch([Example([1, 5, 6, 7, 2], given=3)], padded=False)
    assert found.labels.tolist() == [[NOT_LEARNED, NOT_LEARNED, 7, 2]]
    assert found.learned == 2


def test_packed_and_padded_hold_the_same_tokens():
    examples = reversed_digits(20)
    packed, padded = batch(examples), batch(examples, padded=True)
    assert packed.lengths == padded.lengths
    assert packed.source_lengths == padded.source_lengths
    real = torch.arange(padded.target.shape[1])[None] < torch.tensor(padded.lengths)[:, None]
    assert torch.equal(packed.target[0], padded.target[real])
    assert torch.equal(packed.labels[0], padded.labels[real])
    assert packed.learned == padded.learned
