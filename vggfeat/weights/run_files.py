"""The files of a training run that say what was trained: `train` writes and reads them, `publish` reads them."""

import math
from dataclasses import dataclass, field
from typing import TypedDict

from vggfeat._util.csv_files import finite, per_cent, whole
from vggfeat._util.json_files import Count, Setting

CONFIG, LOG, RESULT = "config.json", "log.csv", "result.json"

EPOCHS = {  # the columns of log.csv of a net that classifies
    "epoch": whole,
    "lr": finite,
    "train_loss": finite,
    "train_top1": per_cent,
    "train_top5": per_cent,
    "val_loss": finite,
    "val_top1": per_cent,
    "val_top5": per_cent,
    "images_per_s": finite,
    "seconds": finite,
}
BOX_EPOCHS = {  # and of one that predicts boxes
    "epoch": whole,
    "lr": finite,
    "train_loss": finite,
    "train_error": per_cent,
    "train_iou": finite,
    "train_outside": finite,
    "val_loss": finite,
    "val_error": per_cent,
    "val_iou": finite,
    "val_outside": finite,
    "images_per_s": finite,
    "seconds": finite,
}
HEALTH = {"dead": per_cent, "gradient": finite}  # columns after those, which logs of earlier versions do not have


def standard_error(per_cent: float, images: int) -> float:
    """The standard error, in points, of an error in per cent that was measured on some images."""
    share = per_cent / 100
    return 100 * math.sqrt(share * (1 - share) / max(images, 1))


@dataclass(frozen=True)
class TrainingData:
    """What a run was trained on. sha256 : of all names and labels. train, val : how many images."""

    sha256: str
    train: Count
    val: Count


class FirstWeights(TypedDict, total=False):
    """Where the weights of a run began: a file, or none; and the learning rate. Empty until they are made."""

    source: str
    sha256: str
    lr: float | None


@dataclass(frozen=True)
class RunConfig:
    """config.json, as far as it is read again. recipe : the settings that decide what is trained."""

    recipe: dict[str, Setting]
    data: TrainingData
    start: FirstWeights = field(default_factory=FirstWeights)

    def __post_init__(self) -> None:
        if not 0 < (self.start.get("lr") or 1.0) < math.inf:
            raise ValueError(f"a learning rate of {self.start.get('lr')}")


@dataclass(frozen=True)
class RunResult:
    """result.json, as far as it is read again.

    epochs : how many were trained. dense : top1 and top5, in per cent of some `images`. sha256 : of best.safetensors;
    empty if an earlier version wrote it.
    """

    epochs: Count
    unreadable: Count = 0
    dense: dict[str, float] | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        dense = self.dense or {"top1": 0.0, "top5": 0.0}
        if not all(0 <= dense.get(name, math.nan) <= 100 for name in ("top1", "top5")):
            raise ValueError("dense has no errors in per cent")
