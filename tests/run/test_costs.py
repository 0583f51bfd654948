"""Whose costs decide on a processor, and what becomes of a user's own."""

import json

import pytest

import attnmask as am
from attnmask.errors import InputError
from attnmask.run import costs
from attnmask.run.costs import Costs, Entry, decided_by, entry_of, keep, profile, table
from attnmask.run.machine import Machine, here

NAMES = [f"{dtype} {work}" for dtype in ("float32", "bfloat16", "float16") for work in ("forward", "training")]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTNMASK_PROFILE", str(tmp_path / "folder" / "machine.json"))
    for cache in (costs._own, entry_of):
        cache.cache_clear()
    yield
    for cache in (costs._own, entry_of):
        cache.cache_clear()


def made_up(kernel, machine=None):
    return Entry(here() if machine is None else machine, dict.fromkeys(NAMES, Costs(kernel=kernel)), "a test")


def test_every_entry_has_costs_for_all_work():
    assert len({entry.machine.kind for entry in table()}) == len(table()) >= 3
    for entry in table():
        assert sorted(entry.costs) == sorted(NAMES)
        assert entry.source
        for one in entry.costs.values():
            assert all(value >= 0 for value in (*one.blocks, *one._replace(blocks=0)))
            assert one.dense > 0.5  # less than 1 in float16 on Zen 4, where SDPA is slower without a mask


def test_the_nearest_entry_decides_and_says_so():
    known = next(entry.machine for entry in table() if entry.machine.variant == "avx512" and not entry.machine.amx)
    assert entry_of(known).machine == known
    assert "nearest" not in decided_by(known)
    other = Machine("avx512", 32, vendor="Somebody", family=1, name="A processor of tomorrow")
    assert entry_of(other).machine.variant == "avx512"
    assert decided_by(other).endswith("the nearest to A processor of tomorrow that is known")
    assert entry_of(Machine()).machine.variant is None, "without the kernel, what was measured without it"
    assert entry_of(Machine("avx2", 16)).machine.variant == "avx2"
    assert entry_of(Machine("avx512", 32, amx=True)).machine.amx


def test_the_users_own_entry_decides_about_this_machine_only():
    assert keep(made_up(7.0)) == profile()
    assert entry_of(here()).costs[NAMES[0]].kernel == 7.0
    assert decided_by(here()) == f"your own costs, {profile()}"
    assert entry_of(Machine("avx2", 16, vendor="Somebody")).costs[NAMES[0]].kernel != 7.0


def test_an_entry_of_another_machine_does_not_decide_here():
    """A home folder that several machines share."""
    keep(made_up(7.0, here()._replace(family=here().family + 1)))
    assert entry_of(here()).costs[NAMES[0]].kernel != 7.0


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"machine": {}, "costs": {"a": {"dearest": 1}}, "source": ""}'])
def test_a_broken_profile_is_named(text):
    profile().parent.mkdir()
    profile().write_text(text)
    with pytest.raises(InputError, match=r"the profile of this machine is what .* wrote; got .*machine\.json"):
        entry_of(here())


def test_what_is_kept_reads_back():
    entry = made_up(0.25)
    keep(entry)
    assert Entry.of(json.loads(profile().read_text())) == entry
    assert [path.name for path in profile().parent.iterdir()] == ["machine.json"]


def test_the_plan_says_whose_costs_decided():
    pytest.importorskip("torch")
    found = am.plan(am.causal(), 4096)
    assert found.decided_by.startswith("costs measured on ")
    assert f"Chosen by {found.decided_by}." in " ".join(found.text().split())
    assert json.loads(found.to_json())["decided_by"] == found.decided_by
    assert am.plan(am.causal(), 64, "numpy").decided_by == ""
    assert am.plan(am.causal(), 4096, device="cuda").decided_by == ""
