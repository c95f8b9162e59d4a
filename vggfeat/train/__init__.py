"""Training as Sect. 3.1 has it.

recipe.py      the settings, the paper's values as defaults
draws.py       everything random, as functions of (seed, epoch, image)
sets.py        the images, shards.py those in tar files, cache.py decoded ones; colour.py their statistics
crops.py       image to input
loading.py     which images make a step, and their way to the net
start.py       random weights, or those of a trained net; schedule.py the learning rate
learner.py     one step; ranks.py several processes; validation.py errors
run.py         the run: setup.py, its beginning; checkpoint.py, folder.py, reports.py, what it writes
plan.py        the paper's chain of runs, A to jittered scales
"""

from vggfeat.train.plan import train_paper
from vggfeat.train.recipe import Recipe
from vggfeat.train.run import Result, train

__all__ = ["Recipe", "Result", "train", "train_paper"]
