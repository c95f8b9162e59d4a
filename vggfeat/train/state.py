"""How far a training run has come, and where it began."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vggfeat._util.json_files import Count
from vggfeat.train.plateau import Plateau
from vggfeat.train.recipe import Recipe
from vggfeat.weights.header import Preprocessing


@dataclass(frozen=True)
class Start:
    """The initial weights of a run.

    lr : the initial learning rate. copied : the layers that were copied from the file `source`.
    """

    preprocessing: Preprocessing
    lr: float
    copied: tuple[str, ...] = ()
    source: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.lr < math.inf:
            raise ValueError(f"a learning rate of {self.lr}")


@dataclass(frozen=True)
class TrainState:
    """How far a run has come; with the tensors of the learner, all that a checkpoint needs.

    A tally is (sum of the losses, images wrong among the best 1, among the best 5, images).
    """

    epoch: Count = 0  # epoch and step are the next ones to do
    step: Count = 0
    sums: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  # tally of the epoch's steps so far
    seconds: float = 0.0  # spent in training steps
    plateau: Plateau = field(default_factory=Plateau)
    best_top5: float = math.nan  # top-5 error, in per cent, of the epoch with the lowest top-1 error
    finished: str = ""  # why the run has ended
    best_sha256: str = ""  # of best.safetensors; empty if an earlier version wrote it

    def __post_init__(self) -> None:
        if len(self.sums) != 4 or not all(map(math.isfinite, (*self.sums, self.seconds))):
            raise ValueError("sums or seconds are not finite")
        if self.step and not self.sums[-1] > 0:
            raise ValueError(f"{self.step} steps of no image")

    def after_steps(self, tallies: Sequence[Sequence[float]], seconds: float) -> "TrainState":
        """The state after steps with these tallies, which took `seconds`."""
        sums = self.sums
        for tally in tallies:
            sums = tuple(a + b for a, b in zip(sums, tally, strict=True))
        return replace(self, sums=sums, step=self.step + len(tallies), seconds=self.seconds + seconds)

    def after_epoch(self, validation: Sequence[float], recipe: Recipe) -> "TrainState":
        """The state at the beginning of the next epoch, given this epoch's validation tally."""
        _, top1, top5 = means(validation)
        plateau = self.plateau.after(self.epoch, top1, patience=recipe.patience, gain=recipe.gain, drops=recipe.drops)
        finished = ""
        if plateau.over:
            finished = "the validation error stopped improving"
        elif self.epoch + 1 >= recipe.epochs:
            finished = f"{recipe.epochs} epochs are done"
        return TrainState(
            epoch=self.epoch + 1,
            seconds=self.seconds,
            plateau=plateau,
            best_top5=top5 if plateau.best_epoch == self.epoch else self.best_top5,
            finished=finished,
        )

    def for_epochs(self, epochs: int) -> "TrainState":
        """The state of a run that is continued up to `epochs`, which may be more or fewer than before."""
        if self.finished and epochs > self.epoch and not self.plateau.over:
            return replace(self, finished="")
        if not self.finished and epochs <= self.epoch:  # steps of the next epoch stay for a later continuation
            return replace(self, finished=f"{self.epoch} epochs are done")
        return self


def means(tally: Sequence[float]) -> tuple[float, float, float]:
    """Mean loss, top-1 and top-5 error in per cent."""
    loss, top1, top5, count = tally
    return loss / count, 100 * top1 / count, 100 * top5 / count
