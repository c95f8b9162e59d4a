"""The result of an evaluation: errors by nets, protocol and scales, each beside both baselines."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vggfeat import __version__
from vggfeat._util.printable import printable
from vggfeat.evaluate.result import aligned
from vggfeat.localization.guesses import Located


@dataclass(frozen=True)
class Score:
    """Localisation errors, in per cent of the images, and the mean overlap.

    Attributes
    ----------
    error : float
        Protocol 1: the share of images whose box of the true class is wrong. Protocol 2: the share of images for which
        none of the five guesses is right in class and box.
    top1 : float or None
        Protocol 2: the same for the first guess alone. None for protocol 1.
    mean_iou : float
        Mean of the intersection over union of the true class's box with the nearest true box, in 0..1. Images whose
        true class is none of the five count as 0.
    """

    error: float
    top1: float | None
    mean_iou: float


@dataclass(frozen=True)
class ScoreRow:
    """The scores of some nets by a protocol at some scales, beside those of the baselines on the same images.

    Attributes
    ----------
    net : str
        The names of the box nets.
    regression : str
        scr, pcr, or "scr & pcr".
    protocol : {1, 2}
    scales : tuple of int
        Smallest image sides Q.
    images : int
        How many images were judged.
    score : Score
    constant : Score or None
        Of one box for all images: the mean of the training boxes, in units of the photo's sides. None if there are no
        training boxes.
    whole : Score
        Of the whole image as the box.
    classes : tuple of float or None
        Top-1 and top-5 error of the classes alone, per cent. None for protocol 1.
    """

    net: str
    regression: str
    protocol: int
    scales: tuple[int, ...]
    images: int
    score: Score
    constant: Score | None
    whole: Score
    classes: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class LocatedImage:
    """An image of the last row, for pictures.

    Attributes
    ----------
    path, label : str
        Its name, and its true class.
    size : tuple of int
        Height and width of the stored photo.
    truth : tuple of boxes
        The true boxes of the class, x0, y0, x1, y1 in pixels of the stored photo, from 0, the largest first.
    guesses : tuple of Located
        The likeliest class first. One for protocol 1, of the true class.
    iou : float
        Of the guess of the true class with the nearest true box, 0..1; 0 if the true class is not among the guesses.
    right : bool
        Whether a guess is right in class and box.
    """

    path: str
    label: str
    size: tuple[int, int]
    truth: tuple[tuple[float, float, float, float], ...]
    guesses: tuple[Located, ...]
    iou: float
    right: bool


@dataclass(frozen=True)
class LocalizationResult:
    """Result of an evaluation. Errors are in per cent.

    Attributes
    ----------
    data : str
        Name of the data set and its subset.
    rows : list of ScoreRow
        Protocol 1 before protocol 2. The last row joins most nets and scales.
    per_class : dict
        Class -> `images`, `error` (as the row's) and `mean_iou`, of the last row.
    rule : dict
        The rule by which boxes were merged.
    iou : float
        The intersection over union from which a box is right.
    reading : {"kit", "paper"}
        Whether a box is right from that value on, or only above it.
    failures : dict
        Image -> why it could not be read. These images do not count.
    notes : list of str
        Remarks for people.
    weights : list of dict
        Net, name, SHA-256 and regression of each box net; then of the classifiers, without regression.
    stores : list of str
        The stored predictions.
    version : str
        The version of vggfeat.
    evidence : list of LocatedImage or None
        The images of the last row; not in the JSON.
    """

    data: str
    rows: list[ScoreRow]
    per_class: dict[str, dict[str, float]]
    rule: dict[str, Any]
    iou: float
    reading: str
    failures: dict[str, str]
    notes: list[str]
    weights: list[dict[str, str]]
    stores: list[str]
    version: str = __version__
    evidence: list[LocatedImage] | None = field(default=None, repr=False, compare=False)

    def json(self) -> str:
        """Return the result for machines, as JSON text."""
        values = asdict(replace(self, evidence=None))
        del values["evidence"]
        return json.dumps(values, indent=1, ensure_ascii=False) + "\n"

    def table(self) -> str:
        """Return the result for people, as text."""
        right = f"a box is right {'from' if self.reading == 'kit' else 'above'} IoU {self.iou:g}"
        rows = [
            ("protocol", "net", "regression", "Q", "error", "top-1", "mean IoU", "mean box", "whole image", "classes")
        ]
        for row in self.rows:
            score, constant = row.score, row.constant
            rows.append(
                (
                    str(row.protocol),
                    row.net,
                    row.regression,
                    ",".join(map(str, row.scales)),
                    _one(score.error),
                    _one(score.top1),
                    f"{score.mean_iou:.3f}",
                    _one(constant.error if constant else None),
                    _one(row.whole.error),
                    " / ".join(map(_one, row.classes or [None])),
                )
            )
        lines = [f"{self.data}: localisation error in per cent of {self.rows[-1].images:,} images; {right}"]
        notes = [
            "mean box, whole image: the errors of these in place of the boxes",
            "classes: top-1 / top-5 error of the classes alone",
            *self.notes,
            f"predictions: {', '.join(sorted({str(Path(store).parent) for store in self.stores}))}",
        ]
        return "\n".join(map(printable, lines + [f"  {line}".rstrip() for line in (*aligned(rows), *notes)]))


def _one(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
