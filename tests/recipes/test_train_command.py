import json
from dataclasses import replace

import pytest

from attnmask import cli, recipes
from attnmask.errors import InputError
from attnmask.recipes import pairs, translate
from attnmask.recipes.command import main
from attnmask.recipes.learn import compare

pytest.importorskip("django")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    usual = translate.pairs.config
    sizes = {"dim": 48, "heads": 4, "kv_heads": 2, "encoder_layers": 1, "decoder_layers": 1, "hidden": 96}
    monkeypatch.setattr(translate.pairs, "config", lambda *given: usual(*given, **sizes))
    monkeypatch.setattr(pairs, "split", _fewer(pairs.split))


def _fewer(split):
    return lambda *given: tuple(part[:300] if number == 0 else part[:6] for number, part in enumerate(split(*given)))


def test_train_then_generate(tmp_path, capsys):
    out = str(tmp_path / "run")
    arguments = [
        "train",
        "translate",
        "--out",
        out,
        "--steps",
        "4",
        "--evaluate-every",
        "2",
        "--tokens",
        "600",
        "--json",
    ]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [entry["step"] for entry in found["history"]] == [2, 4]
    assert found["history"][1]["held_out"] < found["history"][0]["held_out"]
    assert found["scores"].keys() >= {"bleu", "bleu_copy", "bleu_dictionary"}
    assert "held_out" in printed.err
    assert cli.main(["generate", out, "This field is required.\nEnter a number.", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["recipe"] == "translate"
    assert len(answer["output"].split("\n")) == 2


def test_compare_shows_the_leak_before_a_step_is_made(tmp_path, capsys):
    out = tmp_path / "three"
    arguments = ["train", "translate", "--out", str(out), "--steps", "2", "--evaluate-every", "1", "--tokens", "300"]
    assert cli.main([*arguments, "--compare"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["mask", *compare.MASKS]
    assert "no leak" in lines[1]
    assert "leak: output 0 depends on token" in lines[2]
    assert "leak: output 0 depends on token 1" in lines[3]
    assert (out / "compare.svg").read_text().count("off-by-one") >= 0
    for mask in compare.MASKS:
        assert json.loads((out / mask / "run.json").read_text())["mask"] == mask


def test_broken_data_is_refused_before_anything_is_written(tmp_path, capsys):
    data = tmp_path / "own.tsv"
    data.write_text("one\tuno\ntwo\n")
    out = tmp_path / "run"
    assert cli.main(["train", "translate", "--out", str(out), "--data", str(data)]) == 2
    assert "own.tsv, line 2: 1 columns" in capsys.readouterr().err
    assert not out.exists()


def test_steps_are_above_0(tmp_path, capsys):
    assert cli.main(["train", "translate", "--out", str(tmp_path), "--steps", "0"]) == 2
    assert "--steps is above 0; got 0" in capsys.readouterr().err


def test_generate_without_a_run(tmp_path, capsys):
    assert cli.main(["generate", str(tmp_path)]) == 2
    assert "generate takes the folder of a run" in capsys.readouterr().err


def test_a_recipe_as_a_script(tmp_path, capsys):
    arguments = ["--out", str(tmp_path / "run"), "--steps", "1", "--tokens", "300"]
    with pytest.raises(SystemExit) as ended:
        main("translate", arguments)
    assert ended.value.code == 0
    assert "bleu_copy" in capsys.readouterr().out


def test_every_recipe_has_its_two_functions():
    for name in recipes.names():
        module = recipes.load(name)
        assert callable(module.recipe)
        assert callable(module.answer)
    with pytest.raises(InputError, match=r"a recipe is one of .*; got 'cook'"):
        recipes.load("cook")


def test_each_mask_is_another_config():
    configs = [compare.masked(replace(translate.pairs.Config(vocabulary=9)), mask) for mask in compare.MASKS]
    assert [(config.causal, config.ahead) for config in configs] == [(True, 0), (False, 0), (True, 1)]
