"""Whether what is said of photos is right: errors of guesses, and of both baselines in their place."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from vggfeat.boxes import iou
from vggfeat.localization.guesses import Located, corners_of
from vggfeat.localization.predictions import StoredBoxes
from vggfeat.localization.result import LocatedImage, Score, ScoreRow
from vggfeat.localization.spec import LocalizationSettings


@dataclass
class Outcomes:
    """How photos were judged, in their order.

    error, top1 : whether it is wrong. overlap : IoU of the true class's box with the nearest true box.
    """

    error: list[bool] = field(default_factory=list)
    top1: list[bool] = field(default_factory=list)
    overlap: list[float] = field(default_factory=list)

    def add(self, ious: np.ndarray, true: int | None, settings: LocalizationSettings) -> None:
        """ious : of the guesses with the nearest true box. true : the place of the true class among them, or None."""
        found = float(ious[true]) if true is not None else 0.0
        right = true is not None and (found > settings.iou if settings.above else found >= settings.iou)
        self.error.append(not right)
        self.top1.append(not (right and true == 0))
        self.overlap.append(found)

    def score(self, protocol: int) -> Score:
        top1 = 100 * float(np.mean(self.top1)) if protocol == 2 else None
        return Score(100 * float(np.mean(self.error)), top1, float(np.mean(self.overlap)))


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
        height, width = photo.size
        sides = np.array([width, height] * 2, np.float64)
        said = [*(one.box for one in located), sides * [0, 0, 1, 1], sides * (self.constant or [0, 0, 1, 1])]
        ious = iou(torch.from_numpy(np.array(said, np.float64)), torch.from_numpy(truth)).amax(dim=1).numpy()
        *_, whole, constant = ious
        self.own.add(ious[:-2], true, self.settings)
        self.of_whole.add(np.full(len(located), whole), true, self.settings)
        self.of_constant.add(np.full(len(located), constant), true, self.settings)
        self.places.append(true)
        boxes = tuple(corners_of(box, photo.size) for box in truth)
        right, overlap = not self.own.error[-1], self.own.overlap[-1]
        self.images.append(LocatedImage(photo.path, photo.label, photo.size, boxes, tuple(located), overlap, right))

    def row(self) -> ScoreRow:
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
        found: dict[str, dict[str, float]] = {}
        labels = np.array([image.label for image in self.images])
        for label in sorted(set(labels.tolist())):
            of_class = labels == label
            error = 100 * float(np.array(self.own.error)[of_class].mean())
            overlap = float(np.array(self.own.overlap)[of_class].mean())
            found[label] = {"images": int(of_class.sum()), "error": error, "mean_iou": overlap}
        return found
