import errno
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_recipe import Tiny, reversed_digits
from torch.nn import functional as F

from attnmask.errors import InputError
from attnmask.model.transformer import Transformer
from attnmask.recipes.learn import checkpoint, training
from attnmask.recipes.learn.batches import batch
from attnmask.recipes.learn.checkpoint import weights
from attnmask.recipes.learn.loss import Learner

ABOUT = {"recipe": "tiny", "data": None, "mask": "right"}


def train(recipe, folder, bar=lambda step, fraction: None):
    lines = []
    return training.train(recipe, folder, recipe.settings, ABOUT, say=lines.append, bar=bar), lines


def ctrl_c_after(step):
    return lambda done, fraction: os.kill(os.getpid(), signal.SIGINT) if done == step else None


def without_clock(history):
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]


def test_packed_and_padded_training_have_the_same_loss_and_gradients():
    torch.manual_seed(0)
    recipe = Tiny()
    learner = Learner(Transformer(replace(recipe.config, dropout=0.0)))
    found = []
    for padded in (False, True):
        learner.zero_grad()
        loss = learner(batch(reversed_digits(30), padded=padded), 0.1)
        loss.backward()
        found.append((loss.detach(), [weight.grad.clone() for weight in learner.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy(smoothing):
    torch.manual_seed(0)
    model = Transformer(replace(Tiny().config, dropout=0.0))
    torch.nn.init.normal_(model.embedding.weight)  # scores that are far from equal
    data = batch(reversed_digits(10))
    scores = model(data.target, data.source, lengths=data.lengths, source_lengths=data.source_lengths)
    wanted = F.cross_entropy(scores[0], data.labels[0], label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(Learner(model)(data, smoothing), wanted)


def test_the_loss_falls_and_the_model_answers(tmp_path):
    trained, lines = train(Tiny(steps=150, evaluate_every=50, warm_up=10, rate=5e-3), tmp_path)
    losses = [entry["held_out"] for entry in trained.history]
    assert len(losses) == 3
    assert losses[2] < losses[0] - 0.3
    assert "held_out" in lines[-1]
    assert Tiny().score(trained.model, 5)["exact"] >= 0


@pytest.mark.parametrize("padded", [False, True])
def test_a_run_that_was_interrupted_goes_on_bit_for_bit(tmp_path, padded):
    straight, _ = train(Tiny(padded=padded), tmp_path / "straight")
    stopped, _ = train(Tiny(padded=padded), tmp_path / "resumed", bar=ctrl_c_after(4))
    assert straight.finished
    assert not stopped.finished
    resumed, lines = train(Tiny(padded=padded), tmp_path / "resumed")
    assert lines[0] == "going on after step 4"
    assert without_clock(resumed.history) == without_clock(straight.history)
    first, second = (weights(tmp_path / name / "checkpoint.safetensors")[0] for name in ("straight", "resumed"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_ctrl_c_leaves_the_handler_of_before(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    train(Tiny(), tmp_path, bar=ctrl_c_after(1))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_that_is_done_stays_as_it_is(tmp_path):
    first, _ = train(Tiny(), tmp_path)
    again, _ = train(Tiny(), tmp_path)
    assert again.finished
    assert again.history == first.history


def test_a_run_does_not_go_on_with_other_data_or_settings(tmp_path):
    train(Tiny(steps=2, evaluate_every=2), tmp_path)
    other = Tiny(steps=4, rate=1e-4)
    other.train = other.train[:-1]
    with pytest.raises(InputError, match=r"a run goes on as it began; got .*examples .* rate 0.003 -> 0.0001"):
        train(other, tmp_path)


def test_a_run_may_go_on_for_longer(tmp_path):
    train(Tiny(steps=2), tmp_path)
    assert train(Tiny(steps=4), tmp_path)[0].history[-1]["step"] == 4


def test_minutes_end_the_training(tmp_path):
    trained, _ = train(Tiny(steps=None, minutes=0.005), tmp_path)
    assert trained.finished
    assert trained.history[-1]["seconds"] >= 0.3


def test_a_full_disk_keeps_the_checkpoint_of_before(tmp_path, monkeypatch):
    train(Tiny(steps=2), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device; the one of before is kept"):
        checkpoint.replace_file(path, b"half")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.glob(".*")] == []


KILLED = """
import os, pathlib, signal, sys
from attnmask.recipes.learn.checkpoint import replace_file
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)  # the new file is written, and has not its name yet
replace_file(pathlib.Path(sys.argv[1]), b"new")
"""


def test_a_kill_while_writing_keeps_the_checkpoint_of_before(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_broken_checkpoint_is_refused(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="holds a checkpoint"):
        train(Tiny(), tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train(Tiny(steps=2), tmp_path)
    recipe = Tiny()
    learner = Learner(Transformer(replace(recipe.config, dim=64)))
    with pytest.raises(InputError, match="with the model it began with"):
        checkpoint.restore(
            tmp_path / "checkpoint.safetensors", learner, training.optimizer_of(learner, recipe.settings)
        )


def test_a_run_says_what_it_is(tmp_path):
    train(Tiny(steps=2), tmp_path)
    assert (tmp_path / "saved").exists()
    run = json.loads(Path(tmp_path / "run.json").read_text())
    assert run["recipe"] == "tiny"
    assert run["config"]["vocabulary"] == 14
    assert run["settings"]["steps"] == 2


def test_quality_is_measured_along_the_way(tmp_path):
    trained, _ = train(Tiny(steps=4, evaluate_every=2, scored=3), tmp_path)
    assert [set(entry) >= {"exact", "held_out", "training"} for entry in trained.history] == [True, True]
