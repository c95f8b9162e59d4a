"""What a protocol decides: which samples train, choose C and test, and how scores become a number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from vggfeat.data import ImageSet
from vggfeat.errors import DataError, UsageError
from vggfeat.svm import stratified_holdout

VALIDATION = 0.2  # share of the training images that chooses C if the data set has none for it; then all of them train

# scores float32 (M, K), labels bool (M, K), ignore bool (M, K) -> float64 (K,) in 0..1, NaN for a class without value
PerClass = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Fold(NamedTuple):
    """Rows of an ImageSet, int, ascending: those that train, those of them that first choose C, those that test."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Splits:
    """Folds by seed. config : how they were made, for the record. notes : what could not be done as it was asked."""

    by_seed: dict[int, Fold]
    config: dict[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """A measure, averaged over the classes that have a value, and the splits on which it is taken.

    metric : name of the measure. per_class : the measure, which chooses C and is reported.
    splits : called with (Benchmark, ImageSet, BenchmarkSettings); returns Splits. Raises DataError for data that are
        missing or too few, UsageError for numbers of images that it has no use for.
    every_class : whether each class must have training images; if not, those that lack them have no value.
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
    """Draw the fifth of the (training) rows that chooses C, class by class, one image at a time.

    An image with several classes counts as one of its rarest class, so that as few classes as possible are on one side
    only. Samples that share an image stay on the same side. Raises DataError for too few images.
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
    """The name of a sample's image: its path, without `#<object>` if the sample is a part of the image."""
    return images.paths[row].partition("#")[0] if images.boxes is not None else images.paths[row]
