"""Descriptors in 16 bits: how far they are rounded, and what that costs a search."""

import numpy as np
import pytest

from tests.kit.vector_stores import unit_rows
from vggfeat.index.fixed import FixedPoint, row_type


def fixed(X):
    matrix = FixedPoint(np.zeros(len(X), row_type(X.shape[1])))
    matrix[np.arange(len(X))] = X
    return matrix


def crowded(n, dim=256, seed=0):
    """Rows so near each other that rounding decides which are the nearest; none is negative, as after a ReLU."""
    X = np.abs(unit_rows(1, dim)) + 0.2 * np.abs(unit_rows(n, dim, seed))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def nearest(X, Q, k=10):
    return np.argsort(-(Q.astype(np.float64) @ X.T.astype(np.float64)), axis=1)[:, :k]


def bound(X):
    """How far a row is moved at most."""
    return np.sqrt(X.shape[1]) * np.abs(X).max(axis=1) / 32_767


@pytest.mark.parametrize("dim", [1, 7, 512])
def test_a_row_is_moved_by_less_than_the_bound_and_keeps_its_norm(dim):
    X = unit_rows(50, dim) * np.logspace(-6, 6, 50, dtype=np.float32)[:, None]
    found = fixed(X)[:]
    assert found.dtype == np.float32
    assert (np.linalg.norm(found - X, axis=1) <= bound(X)).all()
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.linalg.norm(X, axis=1), rel=3e-7)


def test_a_row_of_zeros_and_one_value_are_exact():
    X = np.array([[0, 0, 0], [0, -0.75, 0]], np.float32)
    assert np.array_equal(fixed(X)[:], X)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_stays_so(value):
    found = fixed(np.array([[0.5, value, 0.5], [0.6, 0.8, 0]], np.float32))[:]
    assert np.isnan(found[0]).any()
    assert np.isfinite(found[1]).all()


def test_a_row_takes_two_bytes_a_value_and_four_for_its_step():
    assert row_type(512).itemsize == 2 * 512 + 4


def test_rows_change_places_only_if_they_are_nearer_than_the_bound():
    X, Q = crowded(1000), crowded(50, seed=1)
    found = nearest(fixed(X)[:], Q)
    cosines = Q.astype(np.float64) @ X.T
    worst, tenth = np.take_along_axis(cosines, found, 1).min(axis=1), np.sort(cosines, axis=1)[:, -10]
    assert (worst >= tenth - 2 * bound(X).max()).all()


def test_more_of_the_true_neighbours_are_found_than_in_float16():
    X, Q = crowded(1000), crowded(50, seed=1)
    truth = nearest(X, Q)

    def recall(rows):
        return np.mean([np.isin(true, found).mean() for true, found in zip(truth, nearest(rows, Q), strict=True)])

    assert recall(X.astype(np.float16)) < 0.98
    assert recall(fixed(X)[:]) > 0.99
