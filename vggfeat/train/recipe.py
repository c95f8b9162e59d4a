"""The settings of the training of a net that classifies. Free of torch and numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vggfeat.errors import UsageError
from vggfeat.train.augmentation import AugmentationSettings
from vggfeat.train.settings import TrainingSettings, free


@dataclass(frozen=True)
class Recipe(AugmentationSettings, TrainingSettings):
    """Settings of the training of a net that classifies: all of `TrainingSettings` and of `AugmentationSettings`.

    The paper has the first, with these defaults (Sect. 3.1), and none of the second. With lr_schedule cosine
    `epochs` is the length of the run, and may not change when it is continued.

    Parameters
    ----------
    dense : bool
        At the end, also measure the best net applied densely to whole images (Sect. 3.2).

    Raises
    ------
    UsageError
        If a value is invalid.

    Examples
    --------
    >>> Recipe(net="A", augment="strong").options.smoothing
    0.1
    """

    dense: bool = free(False)

    def __post_init__(self) -> None:
        TrainingSettings.__post_init__(self)
        AugmentationSettings.__post_init__(self)
        if self.keeps_maps and (self.options.mixup or len(self.options.crop_sizes) > 1):
            raise UsageError("kept maps are of single 224x224 crops: with mixup or crop_sizes give draws 0")

    def fixed(self) -> dict[str, Any]:
        """Return the settings that must stay the same when a run is continued.

        Returns
        -------
        dict
            Name -> value.
        """
        sides = ",".join(map(str, self.options.crop_sizes))
        fixed = super().fixed() | self.options._asdict() | {"crop_sizes": sides}
        return fixed if self.options.lr_schedule == "plateau" else fixed | {"epochs": self.epochs}


def recipe_of(recipe: Recipe | None, settings: Mapping[str, Any]) -> Recipe:
    """The recipe, or one made of settings. Raises UsageError if both are given."""
    if recipe and settings:
        raise UsageError(f"{', '.join(settings)} is given beside a recipe: put it into the recipe")
    return recipe or Recipe(**settings)
