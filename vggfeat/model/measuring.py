"""Honest figures of a training: folds are held out in turn, and all that a training chooses is chosen without them."""

import time
from collections.abc import Sequence

import numpy as np
from sklearn.metrics import confusion_matrix

from vggfeat._util.progress import progress
from vggfeat.metrics import class_recalls, mean_of_known
from vggfeat.model.calibration import expected_calibration_error, probabilities
from vggfeat.model.clock import Clock
from vggfeat.model.curve import learning_curve
from vggfeat.model.figures import Figures, Outsiders, known
from vggfeat.model.folds import can_be_held_out, grouped_folds
from vggfeat.model.samples import Candidate
from vggfeat.model.training import HeldOut, Trained, Trainer

LEAST_FOLDS = 2  # held out whatever time there is
FOR_CHOICE = 0.7  # share of the time for the choice and its figures; the others are for the curve and outsiders


def hold_out(
    trainer: Trainer, candidates: Sequence[Candidate], clock: Clock, silent: bool = False
) -> tuple[list[HeldOut], list[Candidate]]:
    """Train without each of five folds in turn, while there is time, and then on everything.

    Returns what was held out, and the candidates that there is time for in each of these trainings.
    """
    samples = trainer.samples
    fold_of = grouped_folds(samples.labels, trainer.groups, trainer.settings.seed)
    folds = np.unique(fold_of[fold_of >= 0])
    held: list[HeldOut] = []

    def without(fold: int, some: Sequence[Candidate]) -> HeldOut:
        training, rows = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        trained = trainer.train(training, some)
        return HeldOut(rows, training, trained, trained.margins(samples, rows))

    with progress(len(folds), "measuring on held-out photos", "fold", disable=silent) as bar:
        began = time.monotonic()
        first = without(folds[0], candidates[:1])
        each = time.monotonic() - began
        affordable = int(FOR_CHOICE * clock.left() / (each * (len(folds) + 1.5)))  # 1.5: the choice on everything
        tried = list(candidates[: max(1, affordable)])
        for fold in folds:
            began = time.monotonic()
            held.append(first if len(tried) == 1 and fold == folds[0] else without(fold, tried))
            bar.update(1)
            if len(held) >= LEAST_FOLDS and clock.left() < 1.5 * (time.monotonic() - began):
                break
    return held, tried


def figures_of(trainer: Trainer, held: Sequence[HeldOut], final: Trained, clock: Clock, notes: list[str]) -> Figures:
    """All figures that there is time for. notes : what a reader should know already."""
    samples = trainer.samples
    labels = np.concatenate([samples.labels[one.rows] for one in held])
    predicted = np.concatenate([one.margins.argmax(axis=1) for one in held])
    chances = np.concatenate([probabilities(one.margins, one.trained.temperature) for one in held])
    kept = np.concatenate([one.margins.max(axis=1) >= one.trained.threshold for one in held])
    recalls = class_recalls(predicted, labels, len(samples.classes))
    curve, gains = learning_curve(trainer, held, clock, notes)
    outsiders = _outsiders(trainer, final.candidate, clock, notes)
    counts = np.bincount(trainer.groups)
    return Figures(
        classes=samples.classes,
        confusion=confusion_matrix(labels, predicted, labels=range(len(samples.classes))),
        recall=mean_of_known(recalls),
        recalls=known(recalls),
        folds=len(held),
        calibration_error=expected_calibration_error(chances, labels),
        keep=trainer.settings.keep,
        kept=float(kept.mean()),
        outsiders=outsiders,
        curve=curve,
        class_gains=gains,
        photos=len(samples),
        twins=int(counts[counts > 1].sum()),
        notes=tuple(notes),
    )


def _outsiders(trainer: Trainer, candidate: Candidate, clock: Clock, notes: list[str]) -> Outsiders | None:
    """How many photos of a class are refused by a training without it; the mean over as many as there is time for."""
    samples, groups = trainer.samples, trainer.groups
    if len(samples.classes) < 3:
        notes.append("how many outsiders are refused was not measured: it needs three classes")
        return None
    refused: list[float] = []
    for k in np.random.default_rng(trainer.settings.seed).permutation(len(samples.classes)):
        others = np.flatnonzero(samples.labels != k)
        outside = np.flatnonzero((samples.labels == k) & ~np.isin(groups, groups[others]))  # without twins of insiders
        if clock.left() < 0:
            notes.append(
                f"unknown classes: {len(refused)} of {len(samples.classes)} were left out in turn; "
                "the time was over (--minutes)"
            )
            break
        if len(outside) and can_be_held_out(samples.labels[others], groups[others]).any():
            trained = trainer.train(others, [candidate])
            refused.append(float((trained.margins(samples, outside).max(axis=1) < trained.threshold).mean()))
    return Outsiders(float(np.mean(refused)), len(refused)) if refused else None
