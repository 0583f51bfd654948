"""What attention costs here is measured in every part, and saved by the command line."""

import json

import pytest

from attnmask.cli import main
from attnmask.run.costs import profile
from attnmask.run.machine import Machine, here

torch_costs = pytest.importorskip("attnmask.bench.torch_costs")
torch_beside = pytest.importorskip("attnmask.bench.torch_beside")


@pytest.fixture(autouse=True)
def _short(monkeypatch, tmp_path):
    monkeypatch.setattr(torch_costs, "LENGTH", 1024)
    monkeypatch.setattr(torch_costs, "DTYPES", ("float32",))
    monkeypatch.setattr(torch_beside, "SECONDS", 0.0)
    monkeypatch.setenv("ATTNMASK_PROFILE", str(tmp_path / "machine.json"))


def test_all_parts_are_measured():
    entry = torch_costs.entry()
    assert entry.machine == here()
    assert sorted(entry.costs) == ["float32 forward", "float32 training"]
    for costs in entry.costs.values():
        told = (costs.causal, costs.dense, costs.short, costs.copied, *costs.blocks)
        assert all(value > 0 for value in told)


def test_without_the_kernel(monkeypatch):
    monkeypatch.setattr(torch_costs, "here", Machine)
    assert torch_costs.entry().machine == Machine()


def test_the_command_saves_it(capsys):
    assert main(["bench", "--save", "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["written"] == str(profile())
    assert json.loads(profile().read_text())["costs"] == written["costs"]


def test_lines():
    assert torch_costs._line([(1, 5), (3, 9)]) == (2, 3)
    assert torch_costs._line([(1, 5), (3, 4)]) == (0, 5), "noise makes nothing negative"
