"""What is worth a look: the hits and the mistakes that an SVM is surest of, and the classes it mixes up."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from vggfeat.metrics import precision_recall


class Scored(NamedTuple):
    """Test samples and what was said of them; one a split.

    rows : int (M,), of the data set. values : (M, K), higher is better, NaN: no score. labels, ignore : bool (M, K).
    """

    rows: np.ndarray
    values: np.ndarray
    labels: np.ndarray
    ignore: np.ndarray


class Case(NamedTuple):
    """One sample, the class that it was given (or ranked for), and the score of that."""

    row: int
    said: int
    score: float


class Confusion(NamedTuple):
    """`images` of the `of` test images of class `true` were given class `said`."""

    true: int
    said: int
    images: int
    of: int


def decided(scored: Scored) -> Scored:
    """Only the class of the highest score keeps its score: for measures in which each sample gets one class."""
    kept = np.full(scored.values.shape, np.nan)
    some = np.flatnonzero(~np.isnan(scored.values).all(axis=1))
    best = np.nanargmax(scored.values[some], axis=1)
    kept[some, best] = scored.values[some, best]
    return scored._replace(values=kept)


def mistakes(splits: Iterable[Scored], most: int = 12) -> list[Case]:
    """The highest scores of classes that the samples don't have, best first; a sample once, ignored pairs never."""
    return _highest(splits, False, most, ("row",))


def hits(splits: Iterable[Scored], most: int = 12) -> list[Case]:
    """The highest scores of classes that the samples have, best first; a sample once and a class once."""
    return _highest(splits, True, most, ("row", "said"))


def _highest(splits: Iterable[Scored], right: bool, most: int, once: tuple[str, ...]) -> list[Case]:
    cases: list[Case] = []
    for rows, values, labels, ignore in splits:
        sample, said = np.nonzero((labels if right else ~labels) & ~ignore & ~np.isnan(values))
        scores = values[sample, said]
        cases += map(Case, rows[sample].tolist(), said.tolist(), scores.tolist())
    chosen: list[Case] = []
    seen: set[tuple[str, int]] = set()
    for case in sorted(cases, key=lambda case: (-case.score, case.row, case.said)):
        marks = {(name, getattr(case, name)) for name in once}
        if not marks & seen:
            chosen.append(case)
            seen |= marks
        if len(chosen) == most:
            break
    return chosen


def confusion(splits: Iterable[Scored]) -> np.ndarray:
    """int (K, K): how many samples of each class (rows) were given each (columns), over all splits, one or more.

    For samples with one class each; a sample that is ignored for its own or the given class isn't counted.
    """
    return np.sum([_counts(split) for split in splits], axis=0)


def _counts(split: Scored) -> np.ndarray:
    said = ~np.isnan(decided(split).values)
    counted = said.any(axis=1) & split.labels.any(axis=1) & ~(split.ignore & (said | split.labels)).any(axis=1)
    k = said.shape[1]
    pairs = split.labels[counted].argmax(axis=1) * k + said[counted].argmax(axis=1)
    return np.bincount(pairs, minlength=k * k).reshape(k, k)


def worst_confusions(counts: np.ndarray, most: int = 20) -> list[Confusion]:
    """The largest shares of a class that were given another one, largest first; then the larger count."""
    total = counts.sum(axis=1)
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    pairs = [Confusion(int(i), int(j), int(counts[i, j]), int(total[i])) for i, j in zip(*wrong.nonzero(), strict=True)]
    return sorted(pairs, key=lambda c: (-c.images / c.of, -c.images, c.true, c.said))[:most]


def curve(scores: np.ndarray, positive: np.ndarray, ignore: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(recall, precision) of one class, without the points in the middle of a vertical drop: the same line.

    Thousands of samples rank between two hits; of those only the first and the last make a corner.
    """
    precision, recall = precision_recall(scores, positive, ignore)
    corner = np.ones(len(recall), bool)
    corner[1:-1] = (recall[1:-1] != recall[:-2]) | (recall[1:-1] != recall[2:])
    return recall[corner], precision[corner]
