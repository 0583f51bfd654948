"""Graph attention: a network of people, of whom two are known, tells who of the others belongs to whom.

    python -m attnmask.recipes.graphs

Zachary 1977, "An information flow model for conflict and fission in small groups": the 34 members of a karate club, and
who met whom outside it. The club split; each member followed the instructor (node 0) or the president (node 33). From
these two and the meetings alone the model says whom the others followed.

The mask is the graph: a node sees its neighbours and itself. Attention over it is message passing (Velickovic et al. 2018,
"Graph attention networks"), here with products of queries and keys as scores, as in Transformers.
"""

from __future__ import annotations

from statistics import mean
from typing import NamedTuple

import networkx
import torch
from torch import nn
from torch.nn import functional as F

import attnmask as am
from attnmask.model.transformer import Config
from attnmask.recipes.stack import Stack

CONFIG = Config(vocabulary=0, dim=32, heads=4, kv_heads=4, hidden=32, dropout=0.3)
LAYERS, STEPS, RATE, DECAY = 2, 100, 0.01, 5e-4
SEEDS = range(10)


class Nodes(NamedTuple):
    """What is known of a graph.

    Attributes:
        graph: its edges.
        features: what is known of each node (nodes, inputs).
        classes: the class of each node (nodes,).
        labelled: the nodes whose class training is told.
    """

    graph: networkx.Graph
    features: torch.Tensor
    classes: torch.Tensor
    labelled: list[int]


class Classifier(nn.Module):  # type: ignore[misc]
    """Scores of each class for each node."""

    def __init__(self, inputs: int, classes: int, config: Config = CONFIG, layers: int = LAYERS) -> None:
        super().__init__()
        self.read = nn.Linear(inputs, config.dim)
        self.stack = Stack(config, layers)
        self.classes = nn.Linear(config.dim, classes)

    def forward(self, features: torch.Tensor, mask: am.Mask) -> torch.Tensor:
        """Scores (nodes, classes) from features (nodes, inputs), where a node sees what the mask shows it."""
        seen = self.stack(self.read(features)[None], [mask] * len(self.stack.layers))
        result: torch.Tensor = self.classes(seen)[0]
        return result


def neighbours(graph: networkx.Graph) -> am.Mask:
    """A node sees its neighbours and itself.

    >>> neighbours(networkx.path_graph(3)).dense(3)[0, 0].astype(int)
    array([[1, 1, 0],
           [1, 1, 1],
           [0, 1, 1]])
    """
    return am.graph(graph) | am.same(am.q, am.k)


def karate() -> Nodes:
    """The karate club; nothing is known of a member but who it is."""
    graph = networkx.karate_club_graph()
    clubs = [graph.nodes[member]["club"] == "Officer" for member in graph]
    return Nodes(graph, torch.eye(len(clubs)), torch.tensor(clubs).long(), [0, 33])


def train(nodes: Nodes, mask: am.Mask, *, seed: int = 0, steps: int = STEPS) -> Classifier:
    """A classifier that was told the classes of the labelled nodes."""
    torch.manual_seed(seed)
    model = Classifier(nodes.features.shape[1], int(nodes.classes.max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(steps):
        scores = model(nodes.features, mask)[nodes.labelled]
        optimizer.zero_grad()
        F.cross_entropy(scores, nodes.classes[nodes.labelled]).backward()
        optimizer.step()
    model.eval()
    return model


@torch.no_grad()  # type: ignore[untyped-decorator]
def accuracy(model: Classifier, nodes: Nodes, mask: am.Mask) -> float:
    """The share of the other nodes whose class is found."""
    right = model(nodes.features, mask).argmax(-1) == nodes.classes
    others = torch.ones_like(right).index_fill(0, torch.tensor(nodes.labelled), False)
    return float(right[others].double().mean())


def nearest_label(nodes: Nodes) -> float:
    """The accuracy of taking the class of the labelled node that is fewest edges away; of several, each as likely."""
    away = {node: networkx.shortest_path_length(nodes.graph, node) for node in nodes.labelled}
    found = []
    for node in set(nodes.graph) - set(nodes.labelled):
        least = min(away[label][node] for label in nodes.labelled)
        nearest = [nodes.classes[label] for label in nodes.labelled if away[label][node] == least]
        found.append(mean(float(label == nodes.classes[node]) for label in nearest))
    return mean(found)


def main() -> None:
    """Print the accuracy on the members that are not labelled, under each mask, over all seeds."""
    nodes = karate()
    masks = {
        "neighbours and itself": neighbours(nodes.graph),
        "everybody": am.everything(),
        "itself alone": am.same(am.q, am.k),
    }
    print(f"karate club: {len(nodes.classes)} members, {len(nodes.labelled)} labelled, {len(SEEDS)} seeds")
    print(f"  {'the nearest labelled member':28} {nearest_label(nodes):6.1%}")
    for name, mask in masks.items():
        found = [accuracy(train(nodes, mask, seed=seed), nodes, mask) for seed in SEEDS]
        print(f"  a member sees {name:22}{mean(found):6.1%}  (from {min(found):.1%} to {max(found):.1%})")


if __name__ == "__main__":
    main()
