"""The learning curve: what more photos would bring, and to which class."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import sem

from vggfeat.metrics import class_recalls, mean_class_recall
from vggfeat.model.clock import Clock
from vggfeat.model.figures import Point, known
from vggfeat.model.folds import can_be_held_out
from vggfeat.model.training import HeldOut, Trainer

PARTS = (1 / 4, 1 / 2)  # of the training photos of each class; then all of them
TOO_FEW = "no learning curve: the classes have too few photos to train on a part of them"
NO_TIME = "the learning curve was not measured: the time was over (--minutes)"


class _Size(NamedTuple):
    """One size of the training: photos of a class on average, and the predicted classes of each fold."""

    photos: float
    predicted: list[np.ndarray]


def learning_curve(
    trainer: Trainer, held: Sequence[HeldOut], clock: Clock, notes: list[str]
) -> tuple[tuple[Point, ...], tuple[float | None, ...]]:
    """The points of the curve, and what the last doubling brought to each class; both empty if there is none.

    Each fold is predicted by trainings on parts of its own training photos: with its candidate, and C chosen anew.
    notes : gets the reason if there is no curve.
    """
    sizes: list[_Size] = []
    classes = len(trainer.samples.classes)
    for part in PARTS:
        subsets = [_part(trainer.samples.labels, one.training, part, trainer.settings.seed) for one in held]
        photos = _photos(subsets, classes)
        if not all(_can_choose(trainer, rows) for rows in subsets) or photos in [size.photos for size in sizes]:
            continue
        if clock.left() < 0:
            notes.append(NO_TIME)
            return (), ()
        trained = [
            trainer.train(rows, [one.trained.candidate]).margins(trainer.samples, one.rows).argmax(axis=1)
            for one, rows in zip(held, subsets, strict=True)
        ]
        sizes.append(_Size(photos, trained))
    whole = _Size(_photos([one.training for one in held], classes), [one.margins.argmax(axis=1) for one in held])
    if not sizes or sizes[-1].photos == whole.photos:
        notes.append(TOO_FEW)
        return (), ()
    truth = [trainer.samples.labels[one.rows] for one in held]
    before, last = (
        class_recalls(np.concatenate(size.predicted), np.concatenate(truth), classes) for size in (sizes[-1], whole)
    )
    return tuple(_points([*sizes, whole], truth, classes)), known(last - before)


def _photos(subsets: Sequence[np.ndarray], classes: int) -> float:
    return float(np.mean([len(rows) for rows in subsets])) / classes


def _can_choose(trainer: Trainer, rows: np.ndarray) -> bool:
    return bool(can_be_held_out(trainer.samples.labels[rows], trainer.groups[rows]).any())


def _points(sizes: Sequence[_Size], truth: Sequence[np.ndarray], classes: int) -> Iterator[Point]:
    """A gain is the mean over the folds of the difference to the size before, on the same photos."""
    before: np.ndarray | None = None
    for size in sizes:
        pairs = zip(size.predicted, truth, strict=True)
        recalls = np.array([mean_class_recall(predicted, own, classes) for predicted, own in pairs])
        if before is None:
            yield Point(size.photos, float(recalls.mean()))
        else:
            gains = recalls - before
            yield Point(size.photos, float(recalls.mean()), float(gains.mean()), float(sem(gains)))
        before = recalls


def _part(labels: np.ndarray, rows: np.ndarray, part: float, seed: int) -> np.ndarray:
    """A part of the rows of each class, at least two of them; a smaller part is within a larger one."""
    own = labels[rows]
    order = np.lexsort((np.random.default_rng(seed).random(len(labels))[rows], own))
    counts = np.bincount(own, minlength=labels.max() + 1)
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.maximum(2, np.ceil(part * counts)).astype(int)
    return np.sort(rows[order[rank < wanted[own[order]]]])
