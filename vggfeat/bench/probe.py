"""Linear SVMs on descriptors: choose C, train, score the test samples, by any protocol."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from vggfeat._util.progress import progress
from vggfeat.bench.protocol import FOLDS, Fold, PerClass, Protocol, Splits, draw_folds
from vggfeat.data import ImageSet
from vggfeat.errors import DataError
from vggfeat.metrics import mean_of_known
from vggfeat.svm import CS, CSearch, LinearSVM, choose_C
from vggfeat.svm.settings import Progress

DEFAULT_SOLVER: str = LinearSVM().solver


@dataclass(frozen=True)
class FoldScores:
    """What the SVMs of one fold say of its test samples.

    rows : int (M,), rows of the image set; those that could not be read are left out.
    values : float32 (M, K), higher is better; NaN in the column of a class without training examples.
    converged : whether all SVMs did, those that chose C and those that scored.
    notes : on C and the SVMs, if there is something to know.
    """

    rows: np.ndarray
    values: np.ndarray
    C: float
    converged: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbeResult:
    """What SVMs make of descriptors; values in per cent.

    found : bool (N,), samples that have a descriptor. scores : by seed.
    splits : seed, value and C of each. per_class : means over the splits. metrics : further measures.
    """

    images: ImageSet
    found: np.ndarray
    scores: dict[int, FoldScores]
    metric: str
    splits: list[dict[str, Any]]
    per_class: list[float | None]
    metrics: dict[str, float]
    notes: list[str]

    @property
    def value(self) -> float:
        """The mean over the splits."""
        return float(np.mean([split["value"] for split in self.splits]))

    @property
    def std(self) -> float | None:
        """The sample standard deviation over the splits; None for one split."""
        return float(np.std([split["value"] for split in self.splits], ddof=1)) if len(self.splits) > 1 else None


@dataclass(frozen=True)
class Probe:
    """Linear SVMs on descriptors of an image set, judged by a protocol. jobs, solver : see `BenchmarkSettings`."""

    images: ImageSet
    protocol: Protocol
    jobs: int = -1
    solver: str | None = None

    def evaluate(self, X: np.ndarray, found: np.ndarray, splits: Splits, what: str = "training SVMs") -> ProbeResult:
        """Train and test on each split, with descriptors X (N, dim) of the samples in `found`, bool (N,).

        what : for the progress bar. Raises DataError as `score` does, or if no class has training and test images.
        """
        images, protocol = self.images, self.protocol
        chosen_by = [1 if fold.validation is not None else FOLDS for fold in splits.by_seed.values()]
        fits = sum(len(images.classes) * (len(CS) * folds + 1) for folds in chosen_by)
        with progress(fits, what, "SVM") as bar:
            scores = {seed: self.score(X, found, fold, FitCounter(bar.update)) for seed, fold in splits.by_seed.items()}
            bar.total = bar.n  # classes without examples had no SVM, and a grid of C that grew had more
        per_class = _table(protocol.per_class, images, scores)
        rows = []
        for (seed, one), values in zip(scores.items(), per_class, strict=True):
            if np.isnan(values).all():
                raise DataError(f"{images.name}: no class has both training and test images; is the copy whole?")
            rows.append({"seed": seed, "value": mean_of_known(values), "C": one.C})
        also = {name: _table(measure, images, scores) for name, measure in protocol.also.items()}
        return ProbeResult(
            images=images,
            found=found,
            scores=scores,
            metric=protocol.metric,
            splits=rows,
            per_class=_mean_per_class(per_class),
            metrics={name: float(np.mean([mean_of_known(row) for row in table])) for name, table in also.items()},
            notes=split_notes(scores) + _missing_classes(images, per_class),
        )

    def score(self, X: np.ndarray, found: np.ndarray, fold: Fold, report: Progress | None = None) -> FoldScores:
        """Choose C as the fold says, train on all of its training samples, score those of its test.

        report : called with the numbers of SVMs done and to do. Raises DataError if a class lacks training images and
        the protocol needs all classes, or if too few samples choose C or test.
        """
        images = self.images
        train, test = (rows[found[rows]] for rows in (fold.train, fold.test))
        if not len(test):
            raise DataError(
                f"{images.name}: none of the {len(fold.test):,} test images could be read; is the copy whole?"
            )
        labels, ignore = images.labels[train], images.ignore[train]
        how: dict[str, Any] = {"jobs": self.jobs, "progress": report, "solver": self.solver or DEFAULT_SOLVER}
        search = self._choose(X[train], train, fold.validation, how)
        trained = _two_sided(labels, ignore)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the notes say it
            svm = LinearSVM(search.C, **how).fit(X[train], labels[:, trained], ignore[:, trained])
        values = np.full((len(test), len(images.classes)), np.nan, np.float32)
        values[:, trained] = svm.decision_function(X[test])
        converged = bool(svm.converged_.all()) and all(search.converged)
        return FoldScores(test, values, search.C, converged, tuple(_notes(search, svm)))

    def _choose(self, X: np.ndarray, rows: np.ndarray, validation: np.ndarray | None, how: dict[str, Any]) -> CSearch:
        """Choose C on the training rows, with descriptors X (len(rows), dim)."""
        images, protocol = self.images, self.protocol
        labels, ignore = images.labels[rows], images.ignore[rows]
        folds = draw_folds(images, rows) if validation is None else np.isin(rows, validation) - 1
        remaining = [folds != number for number in np.unique(folds[folds >= 0])]  # one mask of rows for each fold
        if protocol.every_class:
            _check_every_class(images, labels, remaining)
        searched = np.all([_two_sided(labels[some], ignore[some]) for some in remaining], axis=0)
        if not remaining or not labels[folds >= 0][:, searched].any():
            raise DataError(f"{images.name}: too few images to choose C; is the copy whole?")
        return choose_C(
            X,
            labels[:, searched],
            CS,
            metric=lambda *values: mean_of_known(protocol.per_class(*values)),
            validation=folds,
            ignore=ignore[:, searched],
            **how,
        )


def split_notes(scores: dict[int, FoldScores]) -> list[str]:
    """The notes of all splits."""
    return [f"split {seed}: {note}" for seed, one in scores.items() for note in one.notes]


def _notes(search: CSearch, svm: LinearSVM) -> Iterator[str]:
    """What a reader should know of the choice of C and of the SVMs that score."""
    if search.at_edge:
        at = search.at_edge
        yield f"C={search.C:g} is the best and the {at}est that was tried; a {at}er one may do better"
    failed = [f"{C:g}" for C, converged in zip(search.Cs, search.converged, strict=True) if not converged]
    if failed:
        yield f"some of the SVMs that choose C did not converge at C={', '.join(failed)}"
    if not svm.converged_.all():
        yield f"{(~svm.converged_).sum()} of {len(svm.converged_)} SVMs did not converge at C={search.C:g}"


class FitCounter:
    """Moves a bar on by the SVMs that are new since the last report, for fits one after the other.

    A solver may report each SVM, or many at once.
    """

    def __init__(self, move: Callable[[int], Any]) -> None:
        self._move, self._done = move, 0

    def __call__(self, done: int, total: int) -> None:
        self._move(done - self._done)
        self._done = 0 if done == total else done


def _two_sided(labels: np.ndarray, ignore: np.ndarray) -> np.ndarray:
    """bool (K,): the classes with positive and negative samples."""
    return labels.any(axis=0) & (~labels & ~ignore).any(axis=0)


def _check_every_class(images: ImageSet, labels: np.ndarray, remaining: list[np.ndarray]) -> None:
    """Raise DataError for a class that has no training image, or none outside of the fold that chooses C."""
    has = labels.any(axis=0)
    if not has.all():
        name = images.classes[int(has.argmin())]
        raise DataError(
            f"{images.name}: no training image of class {name} can be read; replace them, or remove the class"
        )
    for some in remaining:
        has = labels[some].any(axis=0)
        if not has.all():
            name = images.classes[int(has.argmin())]
            raise DataError(f"{images.name}: all training images of class {name} choose C; put some in train")


def _table(measure: PerClass, images: ImageSet, scores: dict[int, FoldScores]) -> np.ndarray:
    """(splits, K) in per cent, NaN for a class without value."""
    table = np.full((len(scores), len(images.classes)), np.nan)
    for row, one in zip(table, scores.values(), strict=True):
        trained = ~np.isnan(one.values).any(axis=0)
        labels, ignore = images.labels[one.rows], images.ignore[one.rows]
        row[trained] = measure(one.values[:, trained], labels[:, trained], ignore[:, trained])
    return 100 * table


def _mean_per_class(table: np.ndarray) -> list[float | None]:
    """Means of (splits, K) over the splits in which the class has a value; None if it never has."""
    known = [column[~np.isnan(column)] for column in table.T]
    return [float(column.mean()) if len(column) else None for column in known]


def _missing_classes(images: ImageSet, table: np.ndarray) -> list[str]:
    names = [name for name, column in zip(images.classes, table.T, strict=True) if np.isnan(column).all()]
    if not names:
        return []
    return [f"no training or no test images, so left out of the mean: {', '.join(names)}"]
