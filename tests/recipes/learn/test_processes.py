"""Several processes on one machine: what data-parallel and sharded training does is what one process would do."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from in_processes import step, tiny, whole

from attnmask.recipes.learn import checkpoint, training
from attnmask.recipes.learn.batches import batch, rounds
from attnmask.recipes.learn.checkpoint import weights

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are started as on Linux")

HERE = Path(__file__).parent


LAUNCHER = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def in_two_processes(what, folder):
    command = [sys.executable, "-m", *LAUNCHER, str(HERE / "in_processes.py"), what, str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_data_parallel_training_is_that_of_all_batches_at_once(tmp_path):
    said = in_two_processes("train", tmp_path)
    assert said.count("held_out") == 1  # one process speaks
    recipe, learner = whole()
    optimizer = training.optimizer_of(learner, recipe.settings)
    sizes = [example.size for example in recipe.train]
    for number, groups in enumerate(islice(rounds(sizes, recipe.settings.tokens, seed=0, processes=2), 3)):
        together = batch([recipe.train[index] for group in groups for index in group])
        for group in optimizer.param_groups:
            group["lr"] = training.rate(recipe.settings, number, number / 3)
        (learner(together, recipe.settings.smoothing) / together.learned).backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), recipe.settings.clip)
        optimizer.step()
        optimizer.zero_grad()
    values, state = weights(tmp_path / "checkpoint.safetensors")
    assert state["step"] == 3
    for name, weight in learner.model.named_parameters():
        torch.testing.assert_close(values[name], weight, atol=2e-4, rtol=1e-3)
    with torch.no_grad():  # and steps move weights by far more than that
        torch.manual_seed(0)
        fresh = type(learner.model)(tiny().config)
        assert (values["embedding.weight"] - fresh.embedding.weight).abs().max() > 2e-3


def test_weights_in_shards_learn_and_are_saved_as_whole_ones(tmp_path):
    in_two_processes("shard", tmp_path)
    recipe, learner = whole()
    optimizer = training.optimizer_of(learner, recipe.settings)
    first, again, resumed = torch.load(tmp_path / "losses.pt")
    assert step(recipe, learner, optimizer) == pytest.approx(first, rel=1e-5)
    values, state = weights(tmp_path / "sharded.safetensors")
    assert state == {"losses": [first]}
    for name, weight in learner.model.named_parameters():
        torch.testing.assert_close(values[name], weight, atol=1e-5, rtol=1e-4)
    assert step(recipe, learner, optimizer) == pytest.approx(again, rel=1e-4)
    assert resumed == again  # the checkpoint put weights and optimizer back, in shards
    checkpoint.restore(tmp_path / "sharded.safetensors", learner, optimizer)
    assert step(recipe, learner, optimizer) == pytest.approx(again, rel=1e-4)  # and one process goes on with it


def test_logs_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = tiny(tensorboard=True)
    trained = training.train(
        recipe, tmp_path, recipe.settings, {}, say=lambda line: None, bar=lambda step, fraction: None
    )
    (log,) = tmp_path.rglob("events.out.tfevents*")
    events = EventAccumulator(str(log)).Reload().Scalars("held_out")
    assert [(event.step, event.value) for event in events] == [(3, pytest.approx(trained.history[0]["held_out"]))]
