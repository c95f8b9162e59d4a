"""Whether what is said of photos is right: errors of guesses, and of both baselines in their place."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vggfeat.localization.criterion import GUESSES, best_iou, errors_by_class, fits, in_images, top_error
from vggfeat.localization.guesses import Located, corners_of
from vggfeat.localization.predictions import StoredBoxes
from vggfeat.localization.result import LocatedImage, Score, ScoreRow
from vggfeat.localization.spec import LocalizationSettings

WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass
class Outcomes:
    """How photos were judged, in their order.

    right : bool (GUESSES,) of each photo, which guesses are right. overlap : IoU of the true class's box with the true
    box that fits it best; 0 if the true class is not among the guesses.
    """

    right: list[np.ndarray] = field(default_factory=list)
    overlap: list[float] = field(default_factory=list)

    def add(self, overlaps: np.ndarray, true: int | None, settings: LocalizationSettings) -> None:
        """overlaps : of the guesses. true : the place of the true class among them, or None."""
        right = np.zeros(GUESSES, bool)
        right[: len(overlaps)] = fits(overlaps, settings.reading, settings.iou) & (np.arange(len(overlaps)) == true)
        self.right.append(right)
        self.overlap.append(0.0 if true is None else float(overlaps[true]))

    def score(self, protocol: int) -> Score:
        right = np.array(self.right)
        top1 = 100 * top_error(right, 1) if protocol == 2 else None
        return Score(100 * top_error(right), top1, float(np.mean(self.overlap)))


@dataclass
class Judged:
    """What is said of photos by some nets, and how right it is.

    protocol, title, regression, scales : of the nets. constant : the mean training box, in units of the photo's sides.
    """

    protocol: int
    title: str
    regression: str
    scales: tuple[int, ...]
    settings: LocalizationSettings
    constant: Sequence[float] | None
    images: list[LocatedImage] = field(default_factory=list)
    places: list[int | None] = field(default_factory=list)
    own: Outcomes = field(default_factory=Outcomes)
    of_constant: Outcomes = field(default_factory=Outcomes)
    of_whole: Outcomes = field(default_factory=Outcomes)

    def add(self, photo: StoredBoxes, truth: np.ndarray, located: Sequence[Located], true: int | None) -> None:
        """Judge a photo. truth : its true boxes, (B, 4). true : the place of its class among `located`, or None."""
        own = best_iou(np.array([one.box for one in located]), truth)
        self.own.add(own, true, self.settings)
        for outcomes, box in ((self.of_constant, self.constant or WHOLE), (self.of_whole, WHOLE)):
            overlap = best_iou(in_images(np.array(box), np.array([photo.size])), truth)
            outcomes.add(np.repeat(overlap, len(located)), true, self.settings)
        self.places.append(true)
        boxes = tuple(corners_of(box, photo.size) for box in truth)
        right, found = bool(self.own.right[-1].any()), self.own.overlap[-1]
        self.images.append(LocatedImage(photo.path, photo.label, photo.size, boxes, tuple(located), found, right))

    def row(self) -> ScoreRow:
        """The scores of all photos."""
        wrong = [[place != 0 for place in self.places], [place is None for place in self.places]]
        top1, top5 = (100 * float(np.mean(one)) for one in wrong)
        return ScoreRow(
            net=self.title,
            regression=self.regression,
            protocol=self.protocol,
            scales=self.scales,
            images=len(self.images),
            score=self.own.score(self.protocol),
            constant=self.of_constant.score(self.protocol) if self.constant else None,
            whole=self.of_whole.score(self.protocol),
            classes=(top1, top5) if self.protocol == 2 else None,
        )

    def per_class(self) -> dict[str, dict[str, float]]:
        """Class -> its number of images, error and mean IoU; sorted by name."""
        names, labels = np.unique([image.label for image in self.images], return_inverse=True)
        errors = 100 * errors_by_class(np.array([image.right for image in self.images]), labels, len(names))
        overlap = np.bincount(labels, self.own.overlap) / np.bincount(labels)
        images = np.bincount(labels)
        return {
            str(name): {"images": int(images[i]), "error": float(errors[i]), "mean_iou": float(overlap[i])}
            for i, name in enumerate(names)
        }
