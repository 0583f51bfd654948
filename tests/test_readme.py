"""The first screen of the README: the idea in at most eight lines of code, by line 15, and it runs."""

from pathlib import Path

import torch

from tests.verify.models import Attends

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_idea_stands_in_eight_lines_by_line_15_and_runs(capsys):
    before, block, _ = (part for part in README.split("```")[:3])
    code = block.removeprefix("python\n")
    assert len([line for line in code.splitlines() if line.strip()]) <= 8
    assert before.count("\n") + block.count("\n") <= 15
    q = k = v = torch.randn(2, 8, 5, 4)
    exec(code, {"q": q, "k": k, "v": v, "model": Attends(), "token_ids": torch.randint(0, 40, (1, 5))})


def test_the_two_commands_are_in_the_makefile():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
    for command in ("demo", "test"):
        assert f"make {command} " in README
        assert f"\n{command}: " in makefile
