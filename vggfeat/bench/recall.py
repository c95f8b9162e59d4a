"""The protocol of Caltech (Appendix B): random splits, C chosen on a fifth of the training images, mean class
recall. A folder with its own train/ and test/ is one split.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.data import ImageSet, Split, random_split
from vggfeat.errors import DataError
from vggfeat.metrics import class_recalls, mean_class_recall
from vggfeat.progress import progress
from vggfeat.svm import CS, LinearSVM, choose_C, stratified_holdout

VALIDATION = 0.2  # of the training images choose C; then all of them train


@dataclass(frozen=True)
class Splits:
    """Splits by seed, what was asked for (for the record), and every row that one of them uses."""

    by_seed: dict[int, Split]
    config: dict[str, Any]
    validation: np.ndarray | None = None  # bool (N,): training rows that choose C; None draws them

    @property
    def used(self) -> np.ndarray:
        return np.unique(np.concatenate([rows for split in self.by_seed.values() for rows in split]))


@dataclass(frozen=True)
class Evaluation:
    """Per split {seed, value, C}, per class the mean over splits; per cent."""

    metric: str
    splits: list[dict[str, Any]]
    per_class: list[float | None]
    notes: list[str]


def class_splits(
    benchmark: Benchmark,
    images: ImageSet,
    seeds: int | None,
    train_per_class: int | None,
    test_per_class: int | None,
) -> Splits:
    """The splits that a benchmark asks for; None takes its own numbers.

    Raises DataError for a data set whose own subsets lack a test, or a class that is too small.
    """
    if images.subset is not None:
        test = np.flatnonzero(images.subset == ("test" if (images.subset == "test").any() else "val"))
        if not len(test):
            raise DataError(f"{images.name}: there is a train folder but no test folder beside it")
        tested = np.isin(np.arange(len(images)), test)
        validation = (images.subset == "val") & ~tested
        own = {0: Split(np.flatnonzero(~tested), test)}
        return Splits(own, {"splits": "the folder's own"}, validation if validation.any() else None)
    seeds = seeds or benchmark.seeds
    train = train_per_class or benchmark.train_per_class or _share(images, benchmark.train_share)
    test_count = test_per_class or benchmark.test_per_class
    config = {"train_per_class": train, "test_per_class": test_count, "seeds": list(range(seeds))}
    return Splits({seed: random_split(images, train, test_count, seed) for seed in range(seeds)}, config)


def _share(images: ImageSet, share: float) -> int:
    """That share of the smallest class, so that all classes train on equally many images."""
    return max(1, int(share * images.labels.sum(axis=0).min()))


def evaluate_splits(
    X: np.ndarray, found: np.ndarray, images: ImageSet, splits: Splits, *, jobs: int = -1
) -> Evaluation:
    """Mean class recall of a linear SVM on each split, from descriptors X (N, dim) of the rows in `found`."""
    labels, classes = images.label_index, len(images.classes)
    rows, recalls, notes = [], [], []
    fits = len(splits.by_seed) * classes * (len(CS) + 1)
    with progress(fits, "training SVMs", "SVM") as bar:
        for seed, split in splits.by_seed.items():
            train, test = split.train[found[split.train]], split.test[found[split.test]]
            _check_classes(images, labels[train])
            if splits.validation is None:
                held = stratified_holdout(labels[train], VALIDATION, seed)
            else:
                held = splits.validation[train]
            search = choose_C(
                X[train],
                labels[train],
                CS,
                metric=lambda scores, y, _: mean_class_recall(scores.argmax(axis=1), y, classes),
                validation=held,
                jobs=jobs,
                progress=lambda *_: bar.update(),
            )
            svm = LinearSVM(search.C, jobs=jobs, progress=lambda *_: bar.update()).fit(X[train], labels[train])
            recall = class_recalls(svm.predict(X[test]), labels[test], classes)
            recalls.append(100 * recall)
            rows.append({"seed": seed, "value": float(np.mean(recalls[-1][~np.isnan(recall)])), "C": search.C})
            if search.at_edge:
                notes.append(f"split {seed}: C={search.C:g} is the grid's {search.at_edge} edge; others may do better")
    return Evaluation("mean class recall", rows, _mean_per_class(np.array(recalls)), notes)


def _mean_per_class(recalls: np.ndarray) -> list[float | None]:
    """Means of (splits, classes) over the splits in which the class has test images; None where it never has."""
    known = [column[~np.isnan(column)] for column in recalls.T]
    return [float(column.mean()) if len(column) else None for column in known]


def _check_classes(images: ImageSet, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=len(images.classes))
    if (counts < 2).any():
        name = images.classes[int(counts.argmin())]
        raise DataError(f"{images.name}: class {name} has {counts.min()} images to train on; it takes two")
