"""What a protocol decides: which samples train, choose C and test, and how scores become a number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from vggfeat.data import ImageSet
from vggfeat.errors import DataError, UsageError
from vggfeat.svm import stratified_holdout

VALIDATION = 0.2  # of the training images choose C where the data set has none for it; then all of them train

# scores float32 (M, K), labels bool (M, K), ignore bool (M, K) -> float64 (K,) in 0..1, NaN where it has no value
PerClass = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Fold(NamedTuple):
    """Rows of an ImageSet, int, ascending: those that train, those of them that choose C first, those that test."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Splits:
    """Folds by seed, what was asked for (for the record), and in `notes` where that could not be had."""

    by_seed: dict[int, Fold]
    config: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def used(self) -> np.ndarray:
        """Every row that one of the folds uses, ascending."""
        return used_rows(*self.by_seed.values())


@dataclass(frozen=True)
class Protocol:
    """A measure, averaged over the classes that have a value, and the splits it is taken on.

    metric : its name. per_class : what C is chosen by and what is reported.
    splits : (benchmark, images, seeds, train_per_class, test_per_class) -> Splits; None asks for the benchmark's
        own numbers. Raises DataError for data that can't serve, UsageError for numbers it has no use for.
    every_class : each class must have training images; else those that lack them have no value.
    also : further measures of the same scores, by name.
    """

    metric: str
    per_class: PerClass
    splits: Callable[..., Splits]
    every_class: bool = False
    also: Mapping[str, PerClass] = field(default_factory=dict)


def used_rows(*folds: Fold) -> np.ndarray:
    """Every row that one of the folds uses, ascending."""
    return np.unique(np.concatenate([rows for fold in folds for rows in fold]))


def hold_out(images: ImageSet, rows: np.ndarray, seed: int) -> np.ndarray:
    """The fifth of the (training) rows that chooses C, drawn class by class, an image at a time.

    An image with several classes counts as one of the rarest of them, so that no class is left on one side only
    if that can be helped. Samples that share an image stay on the same side. Raises DataError for too few images.
    """
    names = [shared_image(images, i) for i in rows]
    _, image_of = np.unique(names, return_inverse=True)
    labels = np.zeros((image_of.max() + 1, len(images.classes)), bool)
    np.logical_or.at(labels, image_of, images.labels[rows])
    by_rarity = np.argsort(labels.sum(axis=0), kind="stable")
    rarest = np.where(labels.any(axis=1), by_rarity[labels[:, by_rarity].argmax(axis=1)], len(images.classes))
    try:
        return rows[stratified_holdout(rarest, VALIDATION, seed)[image_of]]
    except UsageError as error:
        raise DataError(f"{images.name}: {error} training images; add some") from error


def shared_image(images: ImageSet, row: int) -> str:
    """The name of a sample's image: of its own path, without the `#<object>` where a sample is a part of it."""
    return images.paths[row].partition("#")[0] if images.boxes is not None else images.paths[row]
