"""Linear SVMs on stored descriptors: choose C, train, score the test samples, by any protocol."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vggfeat._util.progress import progress
from vggfeat.bench.protocol import Fold, Protocol, Splits
from vggfeat.data import ImageSet
from vggfeat.errors import DataError
from vggfeat.svm import CS, LinearSVM, choose_C
from vggfeat.svm.settings import Progress

DEFAULT_SOLVER: str = LinearSVM().solver


class _Tick:
    """Moves a bar from what a fit says of its progress: SVMs done and to do, whether it tells of each or of many."""

    def __init__(self, move: Callable[[int], Any]) -> None:
        self._move, self._done = move, 0

    def __call__(self, done: int, total: int) -> None:
        self._move(done - self._done)
        self._done = 0 if done == total else done


@dataclass(frozen=True)
class Scores:
    """What the SVMs of one fold say of its test samples.

    rows : int (M,), rows of the image set; those that could not be read are left out.
    values : float32 (M, K), higher is better; NaN in the column of a class without training examples.
    """

    rows: np.ndarray
    values: np.ndarray
    C: float
    at_edge: str | None  # of the grid of C, "low" or "high"


@dataclass(frozen=True)
class Evaluation:
    """Per split {seed, value, C}, per class the mean over the splits, further metrics; per cent. And the scores."""

    metric: str
    splits: list[dict[str, Any]]
    per_class: list[float | None]
    metrics: dict[str, float]
    notes: list[str]
    scores: dict[int, Scores]

    @property
    def value(self) -> float:
        """The mean over the splits."""
        return float(np.mean([split["value"] for split in self.splits]))

    @property
    def std(self) -> float | None:
        """The sample standard deviation over the splits; None of one split."""
        return float(np.std([split["value"] for split in self.splits], ddof=1)) if len(self.splits) > 1 else None


def evaluate_splits(
    X: np.ndarray,
    found: np.ndarray,
    images: ImageSet,
    splits: Splits,
    protocol: Protocol,
    *,
    jobs: int = -1,
    solver: str | None = None,
    what: str = "training SVMs",
) -> Evaluation:
    """Train and test on each split, from descriptors X (N, dim) of the rows in `found`, bool (N,).

    jobs, solver : see `score_fold`. what : for the progress bar.
    """
    fits = len(splits.by_seed) * len(images.classes) * (len(CS) + 1)
    with progress(fits, what, "SVM") as bar:
        scores = {
            seed: score_fold(X, found, images, fold, protocol, jobs=jobs, solver=solver, tick=_Tick(bar.update))
            for seed, fold in splits.by_seed.items()
        }
        bar.total = bar.n  # classes without examples had no SVM
    measured = {name: 100 * _measured(measure, images, scores) for name, measure in protocol.also.items()}
    per_class = 100 * _measured(protocol.per_class, images, scores)
    rows, notes = [], []
    for (seed, one), values in zip(scores.items(), per_class, strict=True):
        if np.isnan(values).all():
            raise DataError(f"{images.name}: no class has both training and test images; is the copy whole?")
        rows.append({"seed": seed, "value": _mean_of_known(values), "C": one.C})
        if one.at_edge:
            notes.append(f"split {seed}: C={one.C:g} is the grid's {one.at_edge} edge; others may do better")
    return Evaluation(
        metric=protocol.metric,
        splits=rows,
        per_class=_mean_per_class(per_class),
        metrics={name: float(np.mean([_mean_of_known(row) for row in rows])) for name, rows in measured.items()},
        notes=notes + _missing_classes(images, per_class),
        scores=scores,
    )


def score_fold(
    X: np.ndarray,
    found: np.ndarray,
    images: ImageSet,
    fold: Fold,
    protocol: Protocol,
    *,
    jobs: int = -1,
    solver: str | None = None,
    tick: Progress | None = None,
) -> Scores:
    """Choose C on the fold's validation samples, train on all of its training samples, score those of its test.

    jobs, tick : see `svm.LinearSVM`. solver : a key of `svm.SOLVERS`, None for its default.
    Raises DataError where a class lacks training images and the protocol wants all, or nothing can choose C.
    """
    train, test = (rows[found[rows]] for rows in (fold.train, fold.test))
    if not len(test):
        raise DataError(f"{images.name}: none of the {len(fold.test):,} test images could be read; is the copy whole?")
    held = np.isin(train, fold.validation)
    labels, ignore = images.labels[train], images.ignore[train]
    if protocol.every_class:
        _check_classes(images, labels, held)
    searched = _two_sided(labels[~held], ignore[~held])
    if not labels[held][:, searched].any():
        raise DataError(f"{images.name}: too few images to choose C; is the copy whole?")
    how: dict[str, Any] = {"jobs": jobs, "progress": tick, "solver": solver or DEFAULT_SOLVER}
    search = choose_C(
        X[train],
        labels[:, searched],
        CS,
        metric=lambda *values: _mean_of_known(protocol.per_class(*values)),
        validation=held,
        ignore=ignore[:, searched],
        **how,
    )
    trained = _two_sided(labels, ignore)
    svm = LinearSVM(search.C, **how).fit(X[train], labels[:, trained], ignore[:, trained])
    values = np.full((len(test), len(images.classes)), np.nan, np.float32)
    values[:, trained] = svm.decision_function(X[test])
    return Scores(test, values, search.C, search.at_edge)


def _two_sided(labels: np.ndarray, ignore: np.ndarray) -> np.ndarray:
    """bool (K,): the classes with positive and negative samples."""
    return labels.any(axis=0) & (~labels & ~ignore).any(axis=0)


def _check_classes(images: ImageSet, labels: np.ndarray, held: np.ndarray) -> None:
    counts = labels.sum(axis=0)
    if (counts < 2).any():
        name = images.classes[int(counts.argmin())]
        raise DataError(f"{images.name}: class {name} has {counts.min()} images to train on; it takes two")
    left = labels[~held].sum(axis=0)
    if not left.all():
        name = images.classes[int(left.argmin())]
        raise DataError(f"{images.name}: all training images of class {name} choose C; put some in train")


def _measured(
    measure: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], images: ImageSet, scores: dict[int, Scores]
) -> np.ndarray:
    """(splits, K) in 0..1, NaN where a class has no value."""
    table = np.full((len(scores), len(images.classes)), np.nan)
    for row, one in zip(table, scores.values(), strict=True):
        trained = ~np.isnan(one.values).any(axis=0)
        labels, ignore = images.labels[one.rows], images.ignore[one.rows]
        row[trained] = measure(one.values[:, trained], labels[:, trained], ignore[:, trained])
    return table


def _mean_of_known(values: np.ndarray) -> float:
    return float(np.mean(values[~np.isnan(values)])) if not np.isnan(values).all() else float("nan")


def _mean_per_class(table: np.ndarray) -> list[float | None]:
    """Means of (splits, K) over the splits in which the class has a value; None where it never has."""
    known = [column[~np.isnan(column)] for column in table.T]
    return [float(column.mean()) if len(column) else None for column in known]


def _missing_classes(images: ImageSet, table: np.ndarray) -> list[str]:
    names = [name for name, column in zip(images.classes, table.T, strict=True) if np.isnan(column).all()]
    if not names:
        return []
    return [f"no training or no test images, so left out of the mean: {', '.join(names)}"]
