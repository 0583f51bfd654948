"""The command line as a user runs it: output, files, exit status."""

import json
import subprocess
import sys

import numpy as np
import pytest

import attnmask as am
from attnmask.cli import main

LOWER = np.tril(np.ones((4, 4), bool))


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_explain(capsys, tmp_path):
    status, out, err = run(capsys, "explain", "Hello there", "--save", tmp_path / "hello.html")
    assert status == 0
    assert "F = A V: the output with the mask (2 x 4)" in out
    assert (tmp_path / "hello.html").read_text().startswith("<!DOCTYPE html>")
    assert "hello.html" in err
    status, out, _ = run(capsys, "explain", "I love it", "--mask", "window(1)", "--json")
    assert status == 0
    assert json.loads(out)


def test_show(capsys, tmp_path):
    status, out, _ = run(capsys, "show", "causal() & window(2)", "--q-len", 2, "--kv-len", 5, "--align", "end")
    assert status == 0
    assert out.splitlines()[0] == "causal() & window(2): 2 queries x 5 keys, 6 of 10 visible (60.0 %)"
    status, out, _ = run(capsys, "show", "causal()", "--q-len", 2, "--json")
    assert json.loads(out)["visible"] == [[[[1, 0], [1, 1]]]]
    for name in ("mask.svg", "mask.png", "mask.html", "mask.txt"):
        assert run(capsys, "show", "causal()", "--save", tmp_path / name)[0] == 0
        assert (tmp_path / name).stat().st_size > 50


def test_audit(capsys, tmp_path):
    status, out, err = run(capsys, "audit", "examples.leaky_decoder:broken", "--out", tmp_path / "reports")
    assert status == 1
    assert "LEAK" in out
    assert "written:" in err
    assert len(list((tmp_path / "reports").iterdir())) == 2
    status, out, _ = run(capsys, "audit", "examples.leaky_decoder:repaired", "--json")
    assert status == 0
    assert json.loads(out)["ok"] is True
    assert run(capsys, "audit", "examples.leaky_decoder:repaired", "--allowed", "window(0)")[0] == 1


def test_diagnose(capsys, tmp_path):
    np.save(tmp_path / "wrong.npy", ~LOWER)
    (tmp_path / "right.json").write_text(json.dumps(LOWER.tolist()))
    np.savez(tmp_path / "one.npz", mask=LOWER)
    status, out, _ = run(capsys, "diagnose", tmp_path / "wrong.npy")
    assert status == 1
    assert out.startswith("inverted-polarity:")
    assert run(capsys, "diagnose", tmp_path / "wrong.npy", "--framework", "torch.mha")[:2] == (0, "nothing found\n")
    assert run(capsys, "diagnose", tmp_path / "right.json")[0] == 0
    assert run(capsys, "diagnose", tmp_path / "one.npz")[0] == 0
    status, out, _ = run(capsys, "diagnose", tmp_path / "wrong.npy", "--json")
    assert [finding["code"] for finding in json.loads(out)] == ["inverted-polarity", "hidden-self", "empty-row"]


def test_convert(capsys, tmp_path):
    np.save(tmp_path / "sdpa.npy", LOWER)
    out = tmp_path / "mha.npz"
    status, text, _ = run(
        capsys, "convert", tmp_path / "sdpa.npy", "--from", "torch.sdpa", "--to", "torch.mha", "--out", out
    )
    assert status == 0
    assert text.startswith("causal()\n")
    assert np.array_equal(np.load(out)["attn_mask"], ~LOWER)  # MultiheadAttention: True = hidden


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", ""], "attnmask explain:"),
        (["explain", "a b", "--mask", "causal"], "Write causal()"),
        (["show", "causal() and x"], "& | ~"),
        (["show", "causal()", "--kv-len", "9"], "align='end'"),
        (["show", "padding([9])", "--q-len", "4"], "lengths are at most kv_len"),
        (["show", "causal()", "--save", "mask.jpeg"], ".svg"),
        (["audit", "nowhere"], "package.module:factory"),
        (["audit", "no.such.module:f"], "ModuleNotFoundError"),
        (["audit", "examples.leaky_decoder:broken", "--allowed", "causal("], "one Python-like expression"),
        (["diagnose", "missing.npy"], "missing.npy"),
        (["diagnose", "README.md"], ".npy, .npz or .json"),
        (["diagnose", "broken.json"], "the file holds one array"),
        (["diagnose", "right.npy", "--framework", "pytorch"], "torch.mha"),
        (["convert", "right.npy", "--from", "torch.sdpa", "--to", "nobody", "--out", "new.npz"], "torch.mha"),
        (["bench", "--length", "8"], "at least 32"),
        (["bench", "--dtype", "float8"], "bfloat16"),
        (["bench", "--device", "tpu"], "cuda"),
        (["convert", "right.npy", "--from", "nobody", "--to", "torch.mha", "--out", "new.npz"], "torch.mha"),
    ],
)
def test_bad_input_says_what_to_write_and_writes_nothing(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("text")
    (tmp_path / "broken.json").write_text("[[1,")
    np.save(tmp_path / "right.npy", LOWER)
    before = sorted(tmp_path.iterdir())
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert said in err
    assert sorted(tmp_path.iterdir()) == before


def test_audit_options(capsys, tmp_path):
    np.savez(tmp_path / "given.npz", input_ids=np.arange(5, 12)[None])
    options = ["--inputs", tmp_path / "given.npz", "--vary", "input_ids", "--output", "last_hidden_state"]
    options += ["--scenarios", "as given", "--batch", "2", "--length", "9", "--mode", "train", "--json"]
    status, out, _ = run(capsys, "audit", "transformers:GPT2Model", *options)
    assert status == 0
    sections = json.loads(out)["checks"][0]["sections"]
    assert [section["name"] for section in sections] == ["sequence 0, as given", "sequence 1, as given"]
    assert sections[0]["tests"] == 8
    status, _, err = run(capsys, "audit", "transformers:GPT2Model", "--output", "nowhere", "--scenarios", "as given")
    assert status == 2
    assert "--output names a part of the result" in err


def test_an_audit_that_could_not_be_written_is_not_begun(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = run(capsys, "audit", "examples.leaky_decoder:broken", "--out", tmp_path / "file" / "reports")
    assert (status, out) == (2, "")
    assert "reports are written into a folder that takes files" in err
    assert "loading" not in err


def test_the_verdict_is_printed_also_if_writing_fails(capsys, tmp_path):
    (tmp_path / "examples-leaky-decoder-broken.html").mkdir()
    status, out, err = run(capsys, "audit", "examples.leaky_decoder:broken", "--out", tmp_path)
    assert status == 2
    assert "LEAK" in out
    assert "examples-leaky-decoder-broken.html" in err


def test_a_failing_audit_writes_nothing(capsys, tmp_path):
    assert run(capsys, "audit", "no.such.module:f", "--out", tmp_path / "reports")[0] == 2
    assert not (tmp_path / "reports").exists()


def test_bench(capsys):
    pytest.importorskip("torch")
    status, out, err = run(capsys, "bench", "causal() & padding([100, 128])", "--length", 128)
    assert status == 0
    assert err.count("..") == 2
    lines = out.splitlines()
    assert lines[0].startswith("attention under masks on this machine: ")
    row = next(line for line in lines if "training" in line)
    assert row.startswith("causal() & padding([100, 128])  128     training  49.2 %")
    assert "(SDPA, dense mask)" in row
    assert "am.attention" in out or "no difference" in out
    status, out, _ = run(capsys, "bench", "causal()", "--length", 64, "--dtype", "bfloat16", "--json")
    cells = json.loads(out)["cells"]
    assert [cell["work"] for cell in cells] == ["forward", "training"]
    assert set(cells[0]["seconds"]) == {"attnmask", "SDPA, dense mask", "SDPA, is_causal"}


@pytest.mark.parametrize("command", ["explain", "show", "audit", "diagnose", "convert", "bench"])
def test_every_command_has_help_with_an_example_and_json(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"example:  attnmask {command}" in text
    assert "--json" in text


def test_python_dash_m():
    code = [sys.executable, "-m", "attnmask", "show", "window(1)", "--q-len", "3"]
    assert am.show(am.window(1), 3).text() in subprocess.run(code, capture_output=True, text=True, check=True).stdout
