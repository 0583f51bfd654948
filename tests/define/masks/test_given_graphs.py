"""Graphs of other libraries as masks."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse

import attnmask as am
from attnmask.errors import MaskError

GRAPHS = [
    nx.karate_club_graph(),
    nx.path_graph(4),
    nx.empty_graph(3),
    nx.DiGraph([(2, 0), (0, 1)]),
    nx.star_graph("abc"),
]
SPARSE = [scipy.sparse.coo_matrix, scipy.sparse.csr_matrix, scipy.sparse.csc_array]


@pytest.mark.parametrize("given", GRAPHS)
def test_a_networkx_graph(given):
    mask = am.graph(given)
    assert np.array_equal(mask.dense(len(given))[0, 0], nx.to_numpy_array(given, weight=None) > 0)
    assert am.parse(repr(mask)) == mask == am.Mask.from_json(mask.to_json())
    assert am.graph(given, len(given)) == mask


@pytest.mark.parametrize("form", SPARSE)
def test_a_sparse_matrix(form):
    matrix = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 5]])
    mask = am.graph(form(matrix))
    assert np.array_equal(mask.dense(3)[0, 0], matrix > 0)
    assert am.parse(repr(mask)) == mask


def test_a_zero_that_is_stored_is_no_edge():
    matrix = scipy.sparse.coo_matrix(([1, 0], ([0, 1], [1, 2])), shape=(3, 3))
    assert am.graph(matrix) == am.graph([(0, 1)], 3)


@pytest.mark.parametrize("given", [nx.path_graph(3), scipy.sparse.eye(3)])
def test_another_number_of_nodes_is_refused(given):
    with pytest.raises(MaskError, match=r"a matrix of edges is .n, n.; got shape .3, 3. with n=4"):
        am.graph(given, 4)


def test_a_matrix_that_is_not_square_is_refused():
    with pytest.raises(MaskError, match="a matrix of edges is"):
        am.graph(scipy.sparse.coo_matrix((2, 3)))
