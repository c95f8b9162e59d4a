"""Nearest neighbours and twins, against scikit-learn and values worked out by hand."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from vggfeat.errors import UsageError
from vggfeat.neighbours import Neighbours, near_pairs, nearest, twin_groups, twin_pairs, twin_threshold


def unit_rows(n: int, dimensions: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((n, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def at(degrees: list[float]) -> np.ndarray:
    """Vectors in the plane, whose cosines are those of the differences of their angles."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_neighbours_are_those_of_scikit_learn():
    X, queries = unit_rows(500), unit_rows(40, seed=1)
    found = nearest(X, 7, queries)
    distances, rows = NearestNeighbors(n_neighbors=7, metric="cosine", algorithm="brute").fit(X).kneighbors(queries)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.cosines, 1 - distances, atol=1e-6)


def test_a_row_is_not_its_own_neighbour():
    assert nearest(at([0, 10, 30]), 2).rows.tolist() == [[1, 2], [0, 2], [1, 0]]


def test_two_equal_rows_are_neighbours():
    assert nearest(at([0, 0, 90]), 1).rows[:2].tolist() == [[1], [0]]


def test_fewer_rows_than_asked_for_are_all_given():
    assert nearest(at([0, 10]), 5).rows.tolist() == [[1], [0]]
    assert nearest(at([0]), 5).rows.shape == (1, 0)
    assert nearest(at([0, 90]), 5, at([80])).rows.tolist() == [[1, 0]]


def test_many_rows_are_compared_in_blocks():
    X = unit_rows(5000, 4)  # two blocks
    for start in (0, 4990):
        expected = np.argsort(-(X[start : start + 10] @ X.T), axis=1)[:, 1:4]
        np.testing.assert_array_equal(nearest(X, 3).rows[start : start + 10], expected)


@pytest.mark.parametrize(
    ("k", "queries", "message"),
    [(0, None, "k must be at least 1, not 0"), (1, np.zeros((2, 3)), r"shape \(2, 3\); expected \(Q, 8\)")],
)
def test_invalid_arguments(k, queries, message):
    with pytest.raises(UsageError, match=message):
        nearest(unit_rows(5), k, queries)


def test_pairs_are_those_of_the_whole_matrix():
    X = unit_rows(6000, 3)  # three blocks
    expected = np.argwhere(np.triu(X @ X.T >= 0.9999, k=1))
    assert len(expected) > 100
    np.testing.assert_array_equal(twin_pairs(X, 0.9999), expected)


def test_near_pairs_of_a_graph_are_named_once():
    graph = Neighbours(
        np.array([[2, 1], [0, -1], [0, 1], [2, 0]]),
        np.array([[0.75, 0.5], [0.5, 0.9], [0.75, 0.25], [0.875, 0.25]], np.float32),
    )
    assert near_pairs(graph, 0.5) == {(0, 2): 0.75, (0, 1): 0.5, (2, 3): 0.875}
    some = Neighbours(graph.rows[3:], graph.cosines[3:])
    assert near_pairs(some, 0.25, np.array([3])) == {(2, 3): 0.875, (0, 3): 0.25}


def test_twins_of_twins_are_one_group_though_they_are_no_pair():
    X = at([0, 8, 16, 90])
    pairs = twin_pairs(X, float(np.cos(np.radians(10))))
    assert pairs.tolist() == [[0, 1], [1, 2]]
    assert twin_groups(pairs, 4).tolist() == [0, 0, 0, 1]
    assert twin_groups(np.empty((0, 2)), 3).tolist() == [0, 1, 2]


def test_the_threshold_is_an_eighth_of_the_median_distance():
    found = twin_threshold(1 - np.array([0.001, 0.16, 0.16, 0.16, 0.16, 0.16, 0.2, 0.4]))
    assert found.value == pytest.approx(0.98)
    assert "its nearest neighbour is 0.16" in found.reason


def test_the_threshold_of_unlike_photos_has_a_bound():
    assert twin_threshold(np.zeros(100)) == (0.95, "twins are at most 0.05 apart (1 - cosine)")


def test_a_few_photos_have_a_fixed_threshold():
    assert twin_threshold([0.5, 0.5]).value == 0.975


def test_equal_rows_are_twins_even_if_all_rows_are_equal():
    X = np.repeat(unit_rows(1, 512), 20, axis=0)
    threshold = twin_threshold(nearest(X, 1).cosines[:, 0]).value
    assert 0.99999 < threshold < 1
    assert len(twin_pairs(X, threshold)) == 190
