"""What posteriors are worth: top-1 and top-5 error, class by class, calibration, confusions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS = 4096  # images ranked at once
BINS = 15  # of Guo et al., 2017
TOP = 5


@dataclass(frozen=True)
class Scores:
    """The judgement of N images over K classes.

    ranks : int (N,), how many classes are at least as likely as the true one, which counts: 1 is right. So ties are
        judged against the net, as by `metrics.top_k_error`.
    predicted : int (N,), the likeliest class, the first of equals. confidence : float (N,), its posterior.
    truth : int (N,).
    """

    ranks: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    truth: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.ranks)

    def error(self, k: int) -> float:
        """Top-k error in per cent: the share of images whose class is not among the k likeliest. NaN for no images.

        With k classes or fewer no image can be wrong: 0.
        """
        return 100 * float((self.ranks > k).mean()) if len(self) else float("nan")

    def per_class(self, k: int) -> np.ndarray:
        """The same for the images of each class, float (K,); NaN for a class without images."""
        images = np.bincount(self.truth, minlength=self.classes)
        wrong = np.bincount(self.truth[self.ranks > k], minlength=self.classes)
        return np.divide(100 * wrong, images, out=np.full(self.classes, np.nan), where=images > 0)


def judge(matrix: np.ndarray, truth: np.ndarray) -> Scores:
    """The Scores of posteriors (N, K) for true classes, int (N,) places in 0..K-1."""
    ranks, best, top = [], [], []
    for start in range(0, len(matrix), ROWS):
        block = matrix[start : start + ROWS]
        own = np.take_along_axis(block, truth[start : start + ROWS, None], axis=1)
        ranks.append((block >= own).sum(axis=1))
        best.append(block.argmax(axis=1))
        top.append(block.max(axis=1))
    none = [np.zeros(0, np.int64)]
    joined = [np.concatenate(parts or none) for parts in (ranks, best, top)]
    return Scores(joined[0], joined[1], joined[2], truth, matrix.shape[1])


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies in (low, high]: how many, their mean confidence, and how many are right, 0..1."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


def reliability(scores: Scores, bins: int = BINS) -> list[Bin]:
    """The bins of equal width that hold images, from low to high confidence."""
    of_image = np.clip(np.ceil(scores.confidence.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    right = scores.ranks == 1
    found = []
    for i in np.unique(of_image):
        there = of_image == i
        confidence, accuracy = float(scores.confidence[there].mean()), float(right[there].mean())
        found.append(Bin(i / bins, (i + 1) / bins, int(there.sum()), confidence, accuracy))
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the images, 0..1; NaN for none."""
    images = sum(one.images for one in bins)
    return sum(one.images * abs(one.confidence - one.accuracy) for one in bins) / images if images else float("nan")


def confusions(scores: Scores, names: Sequence[str], count: int = 20) -> list[dict[str, Any]]:
    """The pairs of classes that are taken for each other most often: true, predicted, images, and their share of the
    true class in per cent."""
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
