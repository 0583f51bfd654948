"""What test_processes starts in several processes: ``python in_processes.py WHAT FOLDER``."""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_recipe import Tiny
from torch import distributed
from torch.distributed.fsdp import fully_shard

from attnmask.model.transformer import Layer, Transformer
from attnmask.recipes.learn import checkpoint, training
from attnmask.recipes.learn.batches import batch
from attnmask.recipes.learn.loss import Learner


def tiny(**changes):
    """The recipe without chance, so that processes differ in their data only."""
    recipe = Tiny(steps=3, **changes)
    recipe.config = replace(recipe.config, dropout=0.0)
    return recipe


def whole():
    """The same model and optimizer in each process."""
    torch.manual_seed(0)
    recipe = tiny()
    return recipe, Learner(Transformer(recipe.config))


def step(recipe, learner, optimizer):
    """One update with the first examples; the loss."""
    loss = learner(batch(recipe.train[:20]))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def train(folder: Path) -> None:
    """Train as ``accelerate launch`` does."""
    recipe = tiny()
    training.train(recipe, folder, recipe.settings, {}, say=print, bar=lambda step, fraction: None)


def shard(folder: Path) -> None:
    """Two updates with the weights of each layer spread over the processes; a checkpoint after the first one."""
    distributed.init_process_group("gloo")
    recipe, learner = whole()
    for module in learner.modules():
        if isinstance(module, Layer):
            fully_shard(module)
    fully_shard(learner)
    optimizer = training.optimizer_of(learner, recipe.settings)
    losses = [step(recipe, learner, optimizer)]
    found = checkpoint.collect(learner, optimizer)
    if distributed.get_rank() == 0:
        checkpoint.save(folder / "sharded.safetensors", found, {"losses": losses})
    distributed.barrier()
    losses.append(step(recipe, learner, optimizer))
    checkpoint.restore(folder / "sharded.safetensors", learner, optimizer)
    losses.append(step(recipe, learner, optimizer))
    if distributed.get_rank() == 0:
        torch.save(losses, folder / "losses.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    {"train": train, "shard": shard}[sys.argv[1]](Path(sys.argv[2]))
