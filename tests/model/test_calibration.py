"""From margins to probabilities."""

import numpy as np
import pytest

from vggfeat.model.calibration import (
    best_temperature,
    expected_calibration_error,
    probabilities,
    threshold_that_keeps,
)


def drawn(count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Margins, and classes that are drawn with the probabilities that these margins say at temperature 1."""
    random = np.random.default_rng(0)
    margins = random.normal(0, 2, (count, 4))
    return margins, (margins + random.gumbel(size=margins.shape)).argmax(axis=1)


@pytest.mark.parametrize("factor", [0.1, 1.0, 7.0])
def test_the_temperature_undoes_a_factor(factor):
    margins, labels = drawn()
    assert best_temperature(factor * margins, labels) == pytest.approx(factor, rel=0.05)


@pytest.mark.parametrize("photos", [2, 25, 1000])
def test_photos_that_are_all_right_do_not_make_probabilities_certain(photos):
    """With two classes and equal margins of 1 the best probability is (M + 1) / (M + 2)."""
    margins = np.tile([1.0, 0.0], (photos, 1))
    temperature = best_temperature(margins, np.zeros(photos, int))
    assert probabilities(margins[:1], temperature)[0, 0] == pytest.approx((photos + 1) / (photos + 2), abs=1e-4)


def test_probabilities_that_are_right_have_no_calibration_error():
    margins, labels = drawn()
    assert expected_calibration_error(probabilities(margins, 1.0), labels) < 0.01
    assert expected_calibration_error(probabilities(margins, 0.2), labels) > 0.1


def test_the_calibration_error_by_hand():
    """Bins of 1/2: 0.6 and 0.8 are together, their mean is 0.7 and half is right; 0.4 is alone and wrong."""
    chances = np.array([[0.6, 0.2, 0.2], [0.8, 0.1, 0.1], [0.3, 0.4, 0.3]])
    labels = np.array([0, 1, 2])
    assert expected_calibration_error(chances, labels, bins=2) == pytest.approx((2 * 0.2 + 1 * 0.4) / 3)


def test_certain_and_right_has_no_error():
    assert expected_calibration_error(np.eye(3), np.arange(3)) == 0


@pytest.mark.parametrize(("share", "kept"), [(0.95, 19), (0.9, 18), (0.5, 10), (0.96, 20)])
def test_a_threshold_keeps_at_least_its_share(share, kept):
    margins = np.random.default_rng(1).normal(size=(20, 3))
    threshold = threshold_that_keeps(margins, share)
    assert (margins.max(axis=1) >= threshold).sum() == kept
