"""Training of the nets (Sect. 3.1).

recipe             Recipe: the settings of the training of a net that classifies
settings           TrainingSettings: those that every run has, with the paper's values as defaults
augmentation       AugmentationSettings: those of a recipe that the paper does not have
run                train: one step, one epoch, one run; results: TrainingResult
chain              train_paper: the paper's chain of runs, from net A to a net for all scales
start              the net and the optimiser before the first step, or at the last checkpoint
filling            the first weights of random layers, measured on images
state              TrainState: how far a run has come; Start: its initial weights
plateau            the learning rate, divided when the validation error stops improving
objective          what is learnt: classes; the boxes of `localization` are another objective
learner            the net and its optimiser: one step of gradient descent
frozen             what frozen convolutions make of crops, kept on disk
validation         errors of centre crops, and of the dense application
draws              all random numbers, as functions of (seed, epoch, image)
sets               the images of a run; shards: images in tar files; cache: decoded images on disk
pixel_statistics   mean and principal components of a training set's pixels
crops              from an image to the net's input
loading            which images make a step, and the processes that decode them
ranks              several processes that train one net
records            what a run writes while it trains
folder             the files of a run; checkpoint: its checkpoint; reports: curves and TensorBoard
stopping           Ctrl-C and SIGTERM
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.train.augmentation import AugmentationSettings
from vggfeat.train.recipe import Recipe
from vggfeat.train.settings import TrainingSettings

if TYPE_CHECKING:
    from vggfeat.train.chain import train_paper
    from vggfeat.train.results import TrainingResult
    from vggfeat.train.run import train

__getattr__ = attach(
    __name__,
    {
        "TrainingResult": "vggfeat.train.results",
        "train": "vggfeat.train.run",
        "train_paper": "vggfeat.train.chain",
    },
)

__all__ = ["AugmentationSettings", "Recipe", "TrainingResult", "TrainingSettings", "train", "train_paper"]
