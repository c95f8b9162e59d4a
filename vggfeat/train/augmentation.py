"""Options of a recipe that the paper does not have: stronger augmentation, for few images. Free of torch and numpy."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from vggfeat._util.options import check_choice
from vggfeat.errors import UsageError
from vggfeat.nets.table import CROP

Augment = Literal["paper", "strong"]
LrSchedule = Literal["plateau", "cosine"]
SMALLEST = 32  # pixels of a crop of which pool5 leaves one value


class Options(NamedTuple):
    """The options of `AugmentationSettings`, each with its value."""

    smoothing: float = 0.0
    mixup: float = 0.0
    jitter: float = 0.0
    aspect: float = 1.0
    crop_sizes: tuple[int, ...] = (CROP,)
    lr_schedule: LrSchedule = "plateau"
    clip: float = 0.0

    def sizes(self, epochs: int) -> list[int]:
        """The side of the crops in each epoch. Each size has an equal share of the pixels; the last epoch is at 224."""
        shares = [side**-2 for side in self.crop_sizes]
        sides: list[int] = []
        for number, side in enumerate(self.crop_sizes, start=1):
            end = round(epochs * sum(shares[:number]) / sum(shares))
            sides += [side] * (min(end, epochs - (len(shares) - number)) - len(sides))
        return sides

    def factor(self, epoch: int, epochs: int) -> float:
        """By what the learning rate of an epoch is multiplied: 1, or a cosine of the pixels seen, from 1 to 0."""
        if self.lr_schedule == "plateau":
            return 1.0
        pixels = [side**2 for side in self.sizes(epochs)]
        epoch = min(epoch, epochs - 1)
        return (1 + math.cos(math.pi * (sum(pixels[:epoch]) + pixels[epoch] / 2) / sum(pixels))) / 2


PRESETS: dict[Augment, Options] = {
    "paper": Options(),
    "strong": Options(0.1, 0.2, 0.3, 4 / 3, (64, 96, 128, CROP), "cosine", 3.0),
}
# Settings that the runs of earlier versions do not have, and what these did.
WITHOUT: dict[str, Any] = {"augment": "paper", **Options()._asdict(), "crop_sizes": str(CROP)}


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """Options of a training run that the paper does not have; see `Recipe`.

    Parameters
    ----------
    augment : {"paper", "strong"}
        Values of the options below that are not given: paper has none of them; strong, for a few thousand images or
        fewer, has all.
    smoothing : float or None
        Label smoothing of the training loss (Szegedy et al., 2016). Default: 0; with augment strong 0.1.
    mixup : float or None
        Mix each crop, and its loss, with those of another image; the share is drawn from Beta(mixup, mixup) (Zhang et
        al., 2018); 0 for none. Default: 0; with augment strong 0.2.
    jitter : float or None
        Multiply brightness, contrast and saturation of a crop by random factors from 1 - jitter to 1 + jitter. Default:
        0; with augment strong 0.3.
    aspect : float or None
        Stretch crops at random; width to height is from 1 / aspect to aspect. Default: 1; with augment strong 4/3.
    crop_sizes : tuple of int or None
        Sides of the crops in pixels, rising to 224. Each size gets an equal share of the pixels of the run, so most
        epochs have small crops. These hold as much of the image in fewer pixels; pool5 is averaged or repeated to 7x7.
        Default: 224; with augment strong 64,96,128,224.
    lr_schedule : {"plateau", "cosine"} or None
        Learning rate: the paper's divisions (plateau), or a cosine of the pixels seen, down to 0 in the last epoch,
        whatever the validation error is. Default: plateau; with augment strong cosine.
    clip : float or None
        Largest norm of the gradient of a step; 0 for no limit. Default: 0; with augment strong 3.

    Raises
    ------
    UsageError
        If a value is invalid.
    """

    augment: Augment = "paper"
    smoothing: float | None = None
    mixup: float | None = None
    jitter: float | None = None
    aspect: float | None = None
    crop_sizes: tuple[int, ...] | None = field(default=None, metadata={"metavar": "SIDE,..."})
    lr_schedule: LrSchedule | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        check_choice("augment", self.augment, Augment)
        check_choice("lr_schedule", self.options.lr_schedule, LrSchedule)
        for name, least, most in (("smoothing", 0, 1), ("jitter", 0, 1), ("mixup", 0, math.inf), ("clip", 0, math.inf)):
            if not least <= (value := getattr(self.options, name)) < most:
                below = f" and below {most}" if most < math.inf else ""
                raise UsageError(f"{name} must be at least {least}{below}, not {value}")
        if not 1 <= self.options.aspect <= 2:
            raise UsageError(f"aspect must be from 1 to 2, not {self.options.aspect}")
        sides = self.options.crop_sizes
        if sides != tuple(sorted({*sides, CROP})) or not SMALLEST <= sides[0] <= sides[-1] <= CROP:
            shown = ",".join(map(str, sides))
            raise UsageError(f"crop_sizes {shown} are invalid; give rising sides from {SMALLEST} to {CROP}, 224 last")
        if len(sides) > 1 and self.options.lr_schedule == "plateau":
            raise UsageError("crop_sizes needs lr_schedule cosine: small crops say little of the error at 224 pixels")

    @cached_property
    def options(self) -> Options:
        """The values of all options: those that were given, else those of `augment`."""
        preset = PRESETS[self.augment]
        given = {name: getattr(self, name) for name in Options._fields}
        return preset._replace(**{name: value for name, value in given.items() if value is not None})
