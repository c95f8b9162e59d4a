"""What a protocol decides: which samples train, choose C and test, and how scores become a number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vggfeat.data import ImageSet
from vggfeat.errors import DataError, UsageError
from vggfeat.svm import stratified_folds, stratified_holdout

VALIDATION = 0.2  # share of the training images that chooses C if the data set has none for it; then all of them train
FOLDS = 5

# scores float32 (M, K), labels bool (M, K), ignore bool (M, K) -> float64 (K,) in 0..1, NaN for a class without value
PerClass = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Fold(NamedTuple):
    """Rows of an ImageSet, int, ascending: those that train, those of them that first choose C, those that test.

    Without rows that choose C, five-fold cross-validation on all that train chooses it.
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray

    def named(self) -> dict[str, list[int]]:
        """The rows of each part that has rows, by its name."""
        return {part: rows.tolist() for part, rows in self._asdict().items() if rows is not None}


@dataclass(frozen=True)
class Splits:
    """Folds by seed. config : how they were made, for the record. notes : what could not be done as it was asked."""

    by_seed: dict[int, Fold]
    config: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def choice(self) -> dict[str, str]:
        """How C is chosen, for the record, if not by the protocol of the paper."""
        is_crossed = any(fold.validation is None for fold in self.by_seed.values())
        return {"validation": f"{FOLDS}-fold cross-validation"} if is_crossed else {}


@dataclass(frozen=True)
class Protocol:
    """A measure, averaged over the classes that have a value, and the splits on which it is taken.

    metric : name of the measure. per_class : the measure, which chooses C and is reported.
    splits : called with (Benchmark, ImageSet, BenchmarkSettings); returns Splits. Raises DataError for data that are
        missing or too few, UsageError for numbers of images that it has no use for.
    every_class : whether each class must have training images; if not, those that lack them have no value.
    also : further measures of the same scores, by name.
    cross_validates : whether cross-validation chooses C if the data set names no images for it; if not, a fifth of the
        training images does, as in the paper's protocols.
    """

    metric: str
    per_class: PerClass
    splits: Callable[..., Splits]
    every_class: bool = False
    also: Mapping[str, PerClass] = field(default_factory=dict)
    cross_validates: bool = False

    def validation(self, images: ImageSet, train: np.ndarray, seed: int) -> np.ndarray | None:
        """The training rows that choose C, None for cross-validation. Raises DataError for too few images."""
        if not self.cross_validates:
            return hold_out(images, train, seed)
        draw_folds(images, train)  # raises now if there are too few; the probe draws from those that can be read
        return None


def used_rows(*folds: Fold) -> np.ndarray:
    """Every row that one of the folds uses, ascending."""
    return np.unique(np.concatenate([rows for fold in folds for rows in fold if rows is not None]))


def hold_out(images: ImageSet, rows: np.ndarray, seed: int) -> np.ndarray:
    """Draw the fifth of the (training) rows that chooses C, class by class. Raises DataError for too few images."""
    return rows[_by_image(images, rows, partial(stratified_holdout, fraction=VALIDATION, seed=seed))]


def draw_folds(images: ImageSet, rows: np.ndarray) -> np.ndarray:
    """The fold of each (training) row for cross-validation, int (len(rows),); -1 for rows that always train.

    Raises DataError for too few images.
    """
    return _by_image(images, rows, partial(stratified_folds, folds=FOLDS))


def _by_image(images: ImageSet, rows: np.ndarray, draw: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What `draw` makes of the classes of the rows, one image at a time.

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
        return draw(rarest)[image_of]
    except UsageError as error:
        raise DataError(f"{images.name}: {error} training images; add some") from error


def shared_image(images: ImageSet, row: int) -> str:
    """The name of a sample's image: its path, without `#<object>` if the sample is a part of the image."""
    return images.paths[row].partition("#")[0] if images.boxes is not None else images.paths[row]
