"""Search among candidates: what is found, and what is said of it."""

import numpy as np
import pytest

from tests.kit.vector_stores import clustered, named, unit_rows, write
from vggfeat.index import Index, build

pytest.importorskip("faiss", reason="needs faiss: pip install 'vggfeat[index]'")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = write(tmp_path_factory.mktemp("lists") / "s", clustered(3000, 64), named(3000))
    build(store, exact_rows=1000)
    return store


def recall(index, X, Q):
    truth = np.argsort(-(Q @ X.T), axis=1)[:, :10]
    found = index.nearest(Q, 10).rows
    return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)])


def test_queries_that_the_store_does_not_have_reach_the_goal(store):
    index = Index(store)
    assert index.recall.value >= 0.99
    assert index.recall.queries == 250
    assert recall(index, clustered(3000, 64), clustered(200, 64, seed=5)) >= 0.985


def test_the_similarities_are_those_of_the_exact_descriptors(store):
    query = clustered(1, 64, seed=5)[0]
    found = Index(store).search(query, k=10)
    expected = clustered(3000, 64)[[match.row for match in found]] @ query
    assert [match.similarity for match in found] == pytest.approx(expected.tolist(), abs=3e-5)


def test_a_higher_goal_reads_more(tmp_path):
    store = write(tmp_path / "s", unit_rows(2000, 64), named(2000))  # without clusters: the hardest case
    X, Q = unit_rows(2000, 64), unit_rows(200, 64, seed=5)
    measured = []
    for goal in (0.5, 0.98):
        index = build(store, exact_rows=100, goal=goal)
        measured.append(index.recall.value)
        assert recall(index, X, Q) == pytest.approx(index.recall.value, abs=0.06)
    assert measured[0] < measured[1]


def test_a_goal_that_cannot_be_reached_is_said(tmp_path, capsys):
    store = write(tmp_path / "s", unit_rows(1500, 800), named(1500))  # more dimensions than a code has
    index = build(store, exact_rows=100, goal=0.9999)
    assert index.recall.value < 0.9999
    assert "below the goal of 0.9999" in capsys.readouterr().err


def test_more_than_the_measured_ten_are_found(store):
    X, Q = clustered(3000, 64), clustered(20, 64, seed=5)
    truth = np.argsort(-(Q @ X.T), axis=1)[:, :100]
    found = Index(store).nearest(Q, 100).rows
    assert np.mean([len(set(a) & set(b)) / 100 for a, b in zip(truth, found, strict=True)]) > 0.95


def test_an_index_of_two_rows_and_of_equal_rows(tmp_path):
    two = write(tmp_path / "two", unit_rows(2), named(2))
    assert [match.row for match in build(two, exact_rows=0).search(unit_rows(2)[1], k=5)] == [1, 0]
    same = write(tmp_path / "same", np.repeat(unit_rows(1), 200, axis=0), named(200))
    assert len(build(same, exact_rows=0).search(unit_rows(1)[0], k=5)) == 5
