"""Which test samples to show: the hits and mistakes with the highest scores, and the most frequent confusions."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vggfeat.metrics import precision_recall


class Scored(NamedTuple):
    """M test samples of one split with their scores for K classes.

    rows : int (M,), rows of the data set. values : (M, K), higher is better; NaN for no score.
    labels, ignore : bool (M, K), as in `data.ImageSet`.
    """

    rows: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray


class Case(NamedTuple):
    """A sample, the class that was predicted for it (or ranked high), and its score."""

    row: int
    predicted: int
    score: float


class Confusion(NamedTuple):
    """Of the `of` test images of class `true`, `images` have the prediction `predicted`."""

    true: int
    predicted: int
    images: int
    of: int


def decided(scored: Scored) -> Scored:
    """Keep only the highest score of each sample, for measures that predict one class per sample."""
    kept = np.full(scored.values.shape, np.nan)
    some = np.flatnonzero(~np.isnan(scored.values).all(axis=1))
    best = np.nanargmax(scored.values[some], axis=1)
    kept[some, best] = scored.values[some, best]
    return scored._replace(values=kept)


def mistakes(splits: Iterable[Scored], most: int = 12) -> list[Case]:
    """The highest scores for classes that the samples do not have, highest first; each sample at most once."""
    return _highest(splits, False, most, ("row",))


def hits(splits: Iterable[Scored], most: int = 12) -> list[Case]:
    """The highest scores for classes that the samples have, highest first; each sample and class at most once."""
    return _highest(splits, True, most, ("row", "predicted"))


def _highest(splits: Iterable[Scored], right: bool, most: int, once: tuple[str, ...]) -> list[Case]:
    """once : the fields of Case that must differ. Ignored pairs of sample and class are left out."""
    cases: list[Case] = []
    for rows, values, labels, ignore in splits:
        sample, predicted = np.nonzero((labels if right else ~labels) & ~ignore & ~np.isnan(values))
        scores = values[sample, predicted]
        cases += map(Case, rows[sample].tolist(), predicted.tolist(), scores.tolist())
    chosen: list[Case] = []
    seen: set[tuple[str, int]] = set()
    for case in sorted(cases, key=lambda case: (-case.score, case.row, case.predicted)):
        marks = {(name, getattr(case, name)) for name in once}
        if not marks & seen:
            chosen.append(case)
            seen |= marks
        if len(chosen) == most:
            break
    return chosen


def confusion(splits: Iterable[Scored]) -> np.ndarray:
    """int (K, K): how many samples of each class (rows) have each prediction (columns), over one split or more.

    Each sample has one class. A sample that is ignored for its true or its predicted class is not counted.
    """
    return np.sum([_counts(split) for split in splits], axis=0)


def _counts(split: Scored) -> np.ndarray:
    predicted = ~np.isnan(decided(split).values)
    ignored = (split.ignore & (predicted | split.labels)).any(axis=1)
    counted = predicted.any(axis=1) & split.labels.any(axis=1) & ~ignored
    k = predicted.shape[1]
    pairs = split.labels[counted].argmax(axis=1) * k + predicted[counted].argmax(axis=1)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def worst_confusions(counts: np.ndarray, most: int = 20) -> list[Confusion]:
    """The confusions with the largest shares of the true class; of equal shares, the larger count first."""
    total = counts.sum(axis=1)
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    pairs = [Confusion(int(i), int(j), int(counts[i, j]), int(total[i])) for i, j in zip(*wrong.nonzero(), strict=True)]
    return sorted(pairs, key=lambda c: (-c.images / c.of, -c.images, c.true, c.predicted))[:most]


def curve(scores: np.ndarray, positive: np.ndarray, ignore: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(recall, precision) of one class, without the points inside vertical drops.

    The drawn line is the same: of the thousands of samples between two hits only the first and the last are corners.
    """
    precision, recall = precision_recall(scores, positive, ignore)
    corner = np.ones(len(recall), bool)
    corner[1:-1] = (recall[1:-1] != recall[:-2]) | (recall[1:-1] != recall[2:])
    return recall[corner], precision[corner]
