"""Graph attention: equal to message passing along edges, and able to tell the clubs apart."""

import networkx
import pytest
import torch

import attnmask as am
from attnmask.model.transformer import Config
from attnmask.recipes import graphs
from attnmask.recipes.stack import Stack

GRAPHS = {
    "karate club": networkx.karate_club_graph(),
    "nobody is met": networkx.empty_graph(5),
    "a star": networkx.star_graph(6),
    "one way": networkx.gnp_random_graph(20, 0.15, seed=1, directed=True),
}


def message_passing(q, k, v, edges):
    """Each query gathers from its edges, one message per edge: softmax over the edges of a node, then a sum."""
    queries, keys = edges.T
    nodes = q.shape[2]
    scores = (q[0, :, queries] * k[0, :, keys]).sum(-1) / q.shape[-1] ** 0.5  # (heads, edges)
    places = queries.expand_as(scores)
    largest = torch.full((scores.shape[0], nodes), -torch.inf, dtype=q.dtype).scatter_reduce(1, places, scores, "amax")
    grown = (scores - largest.gather(1, places)).exp()
    total = torch.zeros_like(largest).scatter_add(1, places, grown)
    weights = grown / total.gather(1, places)
    return torch.zeros_like(v).index_add(2, queries, (weights[..., None] * v[0, :, keys])[None])


def edges_of(graph, itself=True):
    """Pairs (query, key) along all edges, undirected ones both ways; and each node with itself."""
    pairs = list(graph.edges) + ([] if graph.is_directed() else [(b, a) for a, b in graph.edges])
    return torch.tensor(pairs + [(node, node) for node in graph if itself], dtype=torch.long).reshape(-1, 2)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("itself", [True, False])
def test_attention_over_a_graph_is_message_passing(name, itself):
    graph = GRAPHS[name]
    generator = torch.Generator().manual_seed(0)
    arrays = torch.randn(3, 1, 2, len(graph), 8, dtype=torch.float64, generator=generator, requires_grad=True)
    mask = graphs.neighbours(graph) if itself else am.graph(graph)
    one, other = am.attention(*arrays, mask), message_passing(*arrays, edges_of(graph, itself))
    torch.testing.assert_close(one, other, atol=1e-10, rtol=0)
    towards = torch.randn(one.shape, dtype=torch.float64, generator=generator)
    slopes = [torch.autograd.grad((result * towards).sum(), arrays)[0] for result in (one, other)]
    torch.testing.assert_close(*slopes, atol=1e-10, rtol=0)


def test_the_classifier_is_message_passing(monkeypatch):
    nodes = graphs.karate()
    model = graphs.Classifier(34, 2).double().eval()
    features, mask = torch.randn(34, 34, dtype=torch.float64), graphs.neighbours(nodes.graph)
    wanted = model(features, mask)
    edges = edges_of(nodes.graph)
    monkeypatch.setattr(am, "attention", lambda q, k, v, mask, frame: message_passing(q, k, v, edges))
    torch.testing.assert_close(model(features, mask), wanted, atol=1e-10, rtol=0)


def test_a_node_depends_on_nodes_within_as_many_edges_as_layers():
    graph = networkx.path_graph(7)
    mask = graphs.neighbours(graph)
    stack = Stack(Config(vocabulary=0, dim=16, heads=2, kv_heads=2, hidden=16), layers=2)
    within_two = am.table(abs(torch.arange(7)[:, None] - torch.arange(7)) <= 2)
    report = am.check(lambda x: stack.eval()(x, [mask, mask]), torch.randn(1, 7, 16), allowed=within_two)
    assert report.ok, report
    closer = am.check(lambda x: stack.eval()(x, [mask, mask]), torch.randn(1, 7, 16), allowed=mask)
    assert (closer.leaks[0].query, closer.leaks[0].key) == (0, 2)


def test_the_order_of_nodes_does_not_matter():
    graph = networkx.gnp_random_graph(12, 0.3, seed=0)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    place = {int(node): position for position, node in enumerate(order)}
    other = networkx.relabel_nodes(graph, place)
    shuffled = networkx.Graph()
    shuffled.add_nodes_from(range(12))
    shuffled.add_edges_from(other.edges)
    model = graphs.Classifier(6, 3).double().eval()
    features = torch.randn(12, 6, dtype=torch.float64)
    one = model(features, graphs.neighbours(graph))
    torch.testing.assert_close(one[order], model(features[order], graphs.neighbours(shuffled)), atol=1e-10, rtol=0)


def test_the_club_is_told_from_two_members_and_the_meetings():
    nodes = graphs.karate()
    assert nodes.labelled == [0, 33]
    assert (len(nodes.classes), int(nodes.classes.sum())) == (34, 17)
    seen, alone = graphs.neighbours(nodes.graph), am.same(am.q, am.k)
    found = [graphs.accuracy(graphs.train(nodes, seen, seed=seed), nodes, seen) for seed in range(3)]
    assert min(found) > 0.8
    assert graphs.accuracy(graphs.train(nodes, alone), nodes, alone) < 0.75  # who one is says nothing


def test_the_baseline_counts_edges():
    path = networkx.path_graph(5)  # 0 1 2 3 4, labelled at both ends: 2 stands in the middle
    nodes = graphs.Nodes(path, torch.eye(5), torch.tensor([0, 0, 0, 1, 1]), [0, 4])
    assert graphs.nearest_label(nodes) == pytest.approx((1 + 0.5 + 1) / 3)
