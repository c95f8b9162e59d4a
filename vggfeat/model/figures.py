"""What is known of a model: figures from photos that were held out, as numbers, as lines and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vggfeat._util.printable import printable
from vggfeat.model.folds import FOLDS
from vggfeat.report.cases import worst_confusions

SHOWN = 5  # classes, or pairs of classes, in a line
NAME = 60  # characters of a class in a line


@dataclass(frozen=True)
class Point:
    """Mean class recall with a part of the training photos.

    photos : training photos of a class, on average. recall : in 0..1, mean over the folds. gain : over the point
    before, and gain_error : its standard error over the folds; None for the first point.
    """

    photos: float
    recall: float
    gain: float | None = None
    gain_error: float | None = None

    def as_json(self) -> dict[str, float | None]:
        """The numbers for machines; recall and gains in per cent."""
        shares = {"recall": self.recall, "gain": self.gain, "gain_error": self.gain_error}
        percent = {name: None if value is None else 100 * value for name, value in shares.items()}
        return {"photos": self.photos, **percent}


@dataclass(frozen=True)
class Outsiders:
    """How many photos of classes that a model does not know it refuses; each class was left out of one training.

    refused : share of the photos, in 0..1, mean over the classes. classes : how many were left out in turn.
    """

    refused: float
    classes: int


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures from held-out photos. No photo took part in anything that its own prediction depends on.

    Parameters
    ----------
    classes : tuple of K str
        The names of the classes.
    confusion : ndarray, int, shape (K, K)
        Held-out photos by true class (rows) and predicted class (columns).
    recall : float
        Mean class recall in 0..1, over the classes with held-out photos.
    recalls : tuple of K float or None
        Recall of each class in 0..1; None for a class without held-out photos.
    folds : int
        How many of the five folds were held out in turn; less than five if the time was too short.
    calibration_error : float
        Expected calibration error of the probabilities, in 0..1.
    keep, kept : float
        Share of the photos of its classes that the threshold of "none of these" is set to keep, and that it kept.
    outsiders : Outsiders or None
        How many photos of unknown classes are refused; None if it was not measured.
    curve : tuple of Point
        The learning curve; empty if it was not measured.
    class_gains : tuple of K float or None
        What the last doubling of the training photos brought to each class; empty without a curve.
    photos, twins : int
        How many photos there are, and how many of them are twins of others.
    notes : tuple of str
        What was not tried or measured, and why.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    recall: float
    recalls: tuple[float | None, ...]
    folds: int
    calibration_error: float
    keep: float
    kept: float
    outsiders: Outsiders | None
    curve: tuple[Point, ...]
    class_gains: tuple[float | None, ...]
    photos: int
    twins: int
    notes: tuple[str, ...] = ()

    @property
    def held_out(self) -> int:
        """How many photos were held out."""
        return int(self.confusion.sum())

    def as_json(self) -> dict[str, Any]:
        """All figures for machines; values in per cent.

        Returns
        -------
        dict
        """
        return {
            "metric": "mean class recall",
            "value": 100 * self.recall,
            "held_out": self.held_out,
            "folds": self.folds,
            "per_class": {
                name: None if value is None else 100 * value
                for name, value in zip(self.classes, self.recalls, strict=True)
            },
            "confusion": {"classes": list(self.classes), "counts": self.confusion.tolist()},
            "calibration_error": 100 * self.calibration_error,
            "none_of_these": {
                "set_to_keep": 100 * self.keep,
                "kept": 100 * self.kept,
                "refused_of_unknown_classes": 100 * self.outsiders.refused if self.outsiders else None,
                "unknown_classes": self.outsiders.classes if self.outsiders else 0,
            },
            "learning_curve": [point.as_json() for point in self.curve],
            "class_gains": {
                name: 100 * gain
                for name, gain in zip(self.classes, self.class_gains or [None] * len(self.classes), strict=True)
                if gain is not None
            },
            "photos": self.photos,
            "twins": self.twins,
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Say all figures in a few lines.

        Returns
        -------
        list of str
        """
        return [*self._of_recall(), *self._of_confidence(), *self._of_curve(), *self.notes]

    def _of_recall(self) -> Iterator[str]:
        photos = f"{self.held_out:,} photos held out ({self.folds} of {FOLDS} folds)"
        yield f"mean class recall {100 * self.recall:.1f} % of {photos}"
        known = [(value, name) for value, name in zip(self.recalls, self.classes, strict=True) if value is not None]
        low = [f"{_name(name)} {100 * value:.0f} %" for value, name in sorted(known)[:SHOWN] if value < 1]
        if low:
            yield f"lowest recalls: {', '.join(low)}"
        worst = worst_confusions(self.confusion, SHOWN)
        if worst:
            names = [(_name(self.classes[one.true]), _name(self.classes[one.predicted]), one) for one in worst]
            said = [f"{true} as {predicted} {one.images} of {one.of}" for true, predicted, one in names]
            yield f"most often confused: {', '.join(said)}"

    def _of_confidence(self) -> Iterator[str]:
        yield (
            f"probabilities: expected calibration error {100 * self.calibration_error:.1f} points "
            "(15 bins, held-out photos that did not set the temperature)"
        )
        kept = f"set to keep {100 * self.keep:g} % of the photos of the classes, kept {100 * self.kept:.1f} %"
        text = f'"none of these": {kept}'
        if self.outsiders:
            text += (
                f"; refused {100 * self.outsiders.refused:.1f} % of the photos of unknown classes "
                f"({self.outsiders.classes} classes, each left out in turn)"
            )
        yield text

    def _of_curve(self) -> Iterator[str]:
        if not self.curve:
            return
        yield "learning curve: " + ", ".join(
            f"{100 * point.recall:.1f} % with {point.photos:.3g} photos a class" for point in self.curve
        )
        *_, before, last = (None, *self.curve)
        if before and last.gain is not None:
            error = f" ± {100 * last.gain_error:.1f}" if last.gain_error is not None else ""
            yield (
                f"from {before.photos:.3g} to {last.photos:.3g} photos a class: {100 * last.gain:+.1f}{error} points"
                + self._gainers()
            )

    def _gainers(self) -> str:
        gains = [(value, name) for value, name in zip(self.class_gains, self.classes, strict=True) if value is not None]
        best = [f"{_name(name)} {100 * value:+.0f}" for value, name in sorted(gains, reverse=True)[:3] if value > 0]
        return f"; most for {', '.join(best)}" if best else ""


def _name(name: str) -> str:
    return printable(name, NAME)


def known(values: Sequence[float] | np.ndarray) -> tuple[float | None, ...]:
    """The values, with None for NaN."""
    return tuple(None if np.isnan(value) else float(value) for value in values)
