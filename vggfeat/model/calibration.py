"""From margins to probabilities, and to "none of these"."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 15
LARGEST = 7.0  # of the logarithm of a temperature, up or down


def probabilities(margins: np.ndarray, temperature: float) -> np.ndarray:
    """The softmax of margins (M, K) over a temperature: float64 (M, K), rows that sum to 1."""
    return softmax(np.asarray(margins, np.float64) / temperature, axis=1)


def best_temperature(margins: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the classes, int (M,), of the photos with these margins (M, K) are the most likely.

    If all M photos are right, any lower temperature would be better. M photos cannot tell an error of 1 in M + 2 from
    none (rule of succession), so this share of each photo counts for the other classes, as in Platt (1999).
    """
    table, (photos, classes) = np.asarray(margins, np.float64), margins.shape
    doubt = 1 / (photos + 2)

    def loss(logarithm: float) -> float:
        chances = log_softmax(table / np.exp(logarithm), axis=1)
        own = np.take_along_axis(chances, labels[:, None], axis=1)[:, 0]
        others = (chances.sum(axis=1) - own) / (classes - 1)
        return -float(((1 - doubt) * own + doubt * others).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-LARGEST, LARGEST), method="bounded").x))


def expected_calibration_error(chances: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """By how much the probability of the best class differs from how often it is right, in 0..1.

    The photos are put into `bins` bins of equal width by the probability p of their best class. A bin's error is the
    difference of two means: of p, and of whether the best class is right. The result is the mean over the bins, each
    weighted by its number of photos (Guo et al. 2017, Sect. 2).

    chances : (M, K), rows that sum to 1. labels : int (M,).
    """
    best = chances.max(axis=1)
    right = chances.argmax(axis=1) == labels
    numbers = np.minimum((best * bins).astype(int), bins - 1)
    gaps = np.bincount(numbers, best - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def threshold_that_keeps(margins: np.ndarray, share: float) -> float:
    """The highest threshold that at least this share of the photos reach with their largest margin, of (M, K)."""
    largest = np.sort(margins.max(axis=1))
    return float(largest[int(np.floor((1 - share) * len(largest) + 1e-9))])
