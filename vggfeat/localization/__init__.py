"""Localisation (Appendix A): where the objects of an image are.

settings    BoxRecipe: the settings of a training run
training    fit: train a net that predicts boxes; fitted: FittedBoxes, what it results in
objective   what such a net learns
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.localization.settings import BoxRecipe

if TYPE_CHECKING:
    from vggfeat.localization.fitted import FittedBoxes
    from vggfeat.localization.training import fit

__getattr__ = attach(
    __name__,
    {
        "FittedBoxes": "vggfeat.localization.fitted",
        "fit": "vggfeat.localization.training",
    },
)

__all__ = ["BoxRecipe", "FittedBoxes", "fit"]
