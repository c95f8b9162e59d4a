"""A classifier of a user's own photos: fit and predict.

settings     FitSpec, FitSettings; free of torch and numpy
run          fit: describe or reuse a store, choose, measure, train
samples      the labelled photos of a store, in memory
twins        photos that show the same, which stay on one side of every split
folds        which photos are held out together
training     one training: choose aggregation, scales and C by cross-validation, calibrate, train
calibration  from margins to probabilities, and to "none of these"
measuring    honest figures: folds are held out from all that a training chooses
curve        the learning curve
clock        the time that is left
figures      Figures: what was measured, as lines and as JSON
classifier   Model
answers      Answer
stores       stores whose rows a model takes in the place of photos, and the one that trained it
predicting   predict: any number of photos, as a stream
estimator    VGGClassifier
held_out     the photos that trained a model, and how it scored each without having learnt from it
file         the file of a model
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.model.settings import FitSettings, FitSpec

if TYPE_CHECKING:
    from vggfeat.model.answers import Answer
    from vggfeat.model.classifier import Model
    from vggfeat.model.estimator import VGGClassifier
    from vggfeat.model.figures import Figures
    from vggfeat.model.run import fit

_MODULES = {
    "Answer": "answers",
    "Figures": "figures",
    "Model": "classifier",
    "VGGClassifier": "estimator",
    "fit": "run",
}
__getattr__ = attach(__name__, {name: f"vggfeat.model.{module}" for name, module in _MODULES.items()})

__all__ = ["Answer", "Figures", "FitSettings", "FitSpec", "Model", "VGGClassifier", "fit"]
