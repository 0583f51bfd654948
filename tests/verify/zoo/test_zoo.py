"""Leaking models are leaks, at the right pair and module; their repaired twins and other right models are not."""

import numpy as np
import pytest
import torch

import attnmask as am
from tests.verify.zoo import honest, zoo

# Every model that must not leak: the twins and the tricky ones.
SOUND = {f"{name}, repaired": (entry, entry.repaired) for name, entry in zoo.LEAKING.items()} | {
    name: (entry, entry.make) for name, entry in zoo.RIGHT.items()
}


def checked(entry, make):
    torch.manual_seed(0)
    return am.check(make(), entry.inputs, allowed=entry.allowed, **entry.options)


@pytest.mark.parametrize("name", zoo.LEAKING)
def test_a_leak_is_found_and_located(name):
    entry = zoo.LEAKING[name]
    report = checked(entry, entry.broken)
    assert report.verdict == "leak", report
    if entry.shown.by == "batch":  # no pair of one sequence is to blame
        assert "batch" in next(section.name for section in report.sections if section.outcome == "leak"), report
    if entry.pairs:
        assert (report.leaks[0].query, report.leaks[0].key) in entry.pairs, report
    if entry.module:
        assert f"{report.module} ".replace(" ", ".").startswith(f"{entry.module}."), report


@pytest.mark.parametrize("name", SOUND)
def test_a_right_model_is_no_leak(name):
    report = checked(*SOUND[name])
    assert report.ok, report


@pytest.mark.parametrize("name", zoo.LEAKING)
def test_the_zoo_is_honest(name):
    """Each broken model really leaks, at the pair that is given, where it is said to show."""
    entry = zoo.LEAKING[name]
    found = honest.really_leaks(entry)
    assert found is not None
    assert not entry.pairs or found in entry.pairs


@pytest.mark.parametrize("name", SOUND)
def test_the_zoo_is_honest_about_right_models(name):
    """No situation makes a right model leak, not the one either in which its broken twin does."""
    entry, make = SOUND[name]
    for shown in honest.situations(entry, make):
        assert not np.any(honest.leaks(entry, make, shown)), shown


def test_the_zoo_is_large():
    assert len(zoo.LEAKING) >= 50
    assert len(zoo.RIGHT) >= 25
