"""Scores of posteriors: top-1 and top-5 error, errors by class, calibration, confusions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS = 4096  # images ranked at once
BINS = 15  # of Guo et al., 2017
TOP = 5


@dataclass(frozen=True)
class Scores:
    """Scores of N images, at least one, over K classes.

    ranks : int (N,), how many classes are at least as likely as the true one, itself included: 1 is right. Ties count
        as errors, as in `metrics.top_k_error`.
    predicted : int (N,), the most likely class, the first of equals. confidence : float (N,), its posterior.
    truth : int (N,). classes : K.
    """

    ranks: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.ranks)

    def error(self, k: int) -> float:
        """Top-k error in per cent; with k classes or fewer it is 0."""
        return 100 * float((self.ranks > k).mean())

    def per_class(self, k: int) -> np.ndarray:
        """Top-k error of the images of each class, float (K,); NaN for a class without images."""
        images = np.bincount(self.truth, minlength=self.classes)
        wrong = np.bincount(self.truth[self.ranks > k], minlength=self.classes)
        return np.divide(100 * wrong, images, out=np.full(self.classes, np.nan), where=images > 0)


def judge(matrix: np.ndarray, truth: np.ndarray) -> Scores:
    """The Scores of posteriors (N, K) for true classes int (N,) in 0..K-1."""
    blocks = []
    for start in range(0, len(matrix), ROWS):
        block = matrix[start : start + ROWS]
        own = np.take_along_axis(block, truth[start : start + ROWS, None], axis=1)
        blocks.append(((block >= own).sum(axis=1), block.argmax(axis=1), block.max(axis=1)))
    ranks, predicted, confidence = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Scores(ranks, predicted, confidence, truth, matrix.shape[1])


@dataclass(frozen=True)
class Bin:
    """Images with a confidence in (low, high]: their number, mean confidence, and share of right answers, 0..1."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability(scores: Scores, bins: int = BINS) -> list[Bin]:
    """The bins of equal width that have images, from low to high confidence."""
    of_image = np.clip(np.ceil(scores.confidence.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    right = scores.ranks == 1
    found = []
    for i in np.unique(of_image):
        inside = of_image == i
        confidence, accuracy = float(scores.confidence[inside].mean()), float(right[inside].mean())
        found.append(Bin(i / bins, (i + 1) / bins, int(inside.sum()), confidence, accuracy))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error, 0..1: the mean over the images of |confidence - accuracy| of their bins."""
    return sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / sum(one.images for one in bins)


def confusions(scores: Scores, names: Sequence[str], count: int = 20) -> list[dict[str, Any]]:
    """The pairs of classes that are confused most often: true, predicted, images, and share, in per cent of the true
    class.
    """
    wrong = scores.predicted != scores.truth
    pairs = scores.truth[wrong] * scores.classes + scores.predicted[wrong]
    found, images = np.unique(pairs, return_counts=True)
    of_class = np.bincount(scores.truth, minlength=scores.classes)
    order = np.argsort(-images, kind="stable")[:count]
    rows = []
    for pair, number in zip(found[order].tolist(), images[order].tolist(), strict=True):
        true, predicted = divmod(pair, scores.classes)
        share = 100 * number / int(of_class[true])
        rows.append({"true": names[true], "predicted": names[predicted], "images": number, "share": share})
    return rows
