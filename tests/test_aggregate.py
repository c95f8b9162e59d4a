"""From scales to descriptors: stacking, pooling, normalisation and fusion, worked out by hand."""

import math
from typing import get_args

import numpy as np
import pytest

from vggfeat.aggregate import aggregate, fuse, l2_normalise
from vggfeat.errors import UsageError
from vggfeat.spec import Aggregation, Normalisation

# Two images, two channels, at two scales.
SMALL = np.array([[3, 0], [1, 0]], np.float32)
LARGE = np.array([[1, 4], [0, 1]], np.float32)
HALF = math.sqrt(0.5)


def close(found: np.ndarray, expected: object) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.array(expected), rtol=1e-6)


def test_stack() -> None:
    close(aggregate([SMALL, LARGE], "stack", "none"), [[3, 0, 1, 4], [1, 0, 0, 1]])


def test_mean() -> None:
    close(aggregate([SMALL, LARGE], "mean", "none"), [[2, 2], [0.5, 0.5]])


def test_max() -> None:
    close(aggregate([SMALL, LARGE], "max", "none"), [[3, 4], [1, 1]])


def test_l2_comes_after_the_aggregation() -> None:
    close(aggregate([SMALL, LARGE], "mean", "l2"), [[HALF, HALF], [HALF, HALF]])
    close(aggregate([SMALL, LARGE], "max", "l2"), [[0.6, 0.8], [HALF, HALF]])
    root = math.sqrt(26)
    close(aggregate([SMALL, LARGE], "stack", "l2"), [[3 / root, 0, 1 / root, 4 / root], [HALF, 0, 0, HALF]])


def test_per_scale_comes_before_it_as_well() -> None:
    """(1, 0) and (1, 4) / sqrt(17): every scale has the same say, however large its values."""
    a, b = 1 / math.sqrt(17), 4 / math.sqrt(17)
    close(aggregate([SMALL, LARGE], "stack", "per-scale")[:1], [[HALF, 0, a * HALF, b * HALF]])
    norm = math.hypot(1 + a, b)
    close(aggregate([SMALL, LARGE], "mean", "per-scale")[:1], [[(1 + a) / norm, b / norm]])
    norm = math.hypot(1, b)
    close(aggregate([SMALL, LARGE], "max", "per-scale")[:1], [[1 / norm, b / norm]])


def test_the_defaults_are_the_papers() -> None:
    assert np.array_equal(aggregate([SMALL, LARGE]), aggregate([SMALL, LARGE], "mean", "l2"))


@pytest.mark.parametrize("normalize", get_args(Normalisation))
@pytest.mark.parametrize("agg", get_args(Aggregation))
def test_one_scale_aggregated_is_that_scale(agg: str, normalize: str) -> None:
    expected = LARGE if normalize == "none" else l2_normalise(LARGE)
    close(aggregate([LARGE], agg, normalize), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("normalize", ["l2", "per-scale"])
@pytest.mark.parametrize("agg", get_args(Aggregation))
def test_a_descriptor_of_zeros_stays_zero(agg: str, normalize: str) -> None:
    zeros = np.zeros((1, 2), np.float32)
    found = aggregate([zeros, zeros], agg, normalize)  # type: ignore[arg-type]
    assert not found.any() and found.dtype == np.float32
    assert not fuse([found, found]).any()


def test_normalising_by_hand_and_the_arguments_stay_as_they_are() -> None:
    x = np.array([[3, 4], [0, 0], [0, -2]], np.float32)
    before = x.copy()
    close(l2_normalise(x), [[0.6, 0.8], [0, 0], [0, -1]])
    aggregate([x, x], "mean", "per-scale")
    fuse([x, x])
    assert np.array_equal(x, before)


def test_fusion_gives_each_net_the_same_say() -> None:
    one, two = l2_normalise(np.array([[3, 4]], np.float32)), l2_normalise(np.array([[0, 70, 0]], np.float32))
    fused = fuse([one, two])
    close(fused, [[0.6 * HALF, 0.8 * HALF, 0, HALF, 0]])
    assert np.linalg.norm(fused[:, :2]) == pytest.approx(np.linalg.norm(fused[:, 2:]))


def test_fusion_of_one_net_is_that_net_and_of_raw_ones_their_values() -> None:
    assert np.array_equal(fuse([LARGE]), LARGE)
    close(fuse([SMALL, LARGE], "none"), [[3, 0, 1, 4], [1, 0, 0, 1]])


@pytest.mark.parametrize(("agg", "normalize", "said"), [("sum", "l2", "'sum'.*stack"), ("mean", "l1", "'l1'.*l2")])
def test_other_words_are_usage_errors(agg: str, normalize: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        aggregate([SMALL], agg, normalize)  # type: ignore[arg-type]
