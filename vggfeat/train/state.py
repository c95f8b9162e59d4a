"""How far a training run has come, and where it began."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vggfeat._util.json_files import Count
from vggfeat.train.plateau import Plateau
from vggfeat.train.settings import TrainingSettings
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

    A tally has sums over images, the last of which is their number; see `objective.Objective`.
    """

    epoch: Count = 0  # epoch and step are the next ones to do
    step: Count = 0
    sums: tuple[float, ...] = (0.0,) * 4  # tally of the epoch's steps so far
    seconds: float = 0.0  # spent in training steps
    plateau: Plateau = field(default_factory=Plateau)
    best_top5: float = math.nan  # an earlier version wrote it in place of `best`
    finished: str = ""  # why the run has ended
    best_sha256: str = ""  # of best.safetensors; empty if an earlier version wrote it
    best: tuple[float, ...] = ()  # the validation measures of the epoch with the lowest error
    gradients: tuple[float, float] = (0.0, 0.0)  # norms of the epoch's gradients so far: their sum, and how many

    def __post_init__(self) -> None:
        if len(self.sums) < 4 or not all(map(math.isfinite, (*self.sums, *self.gradients, self.seconds))):
            raise ValueError("sums, gradients or seconds are not finite")
        if self.step and not any(self.sums):
            raise ValueError(f"{self.step} steps of no image")

    def after_steps(
        self, tallies: Sequence[Sequence[float]], gradients: Sequence[float], seconds: float
    ) -> "TrainState":
        """The state after steps with these tallies and norms of gradients, which took `seconds`.

        A norm that is too large for a float32 is left out.
        """
        sums, (total, count) = self.sums, self.gradients
        for tally in tallies:
            sums = tuple(a + b for a, b in zip(sums, tally, strict=True))
        for norm in filter(math.isfinite, gradients):
            total, count = total + norm, count + 1
        step, seconds = self.step + len(tallies), self.seconds + seconds
        return replace(self, sums=sums, gradients=(total, count), step=step, seconds=seconds)

    @property
    def gradient(self) -> float | None:
        """The mean norm of the epoch's gradients so far; None if none is known."""
        total, count = self.gradients
        return total / count if count else None

    def after_epoch(self, validation: tuple[float, ...], recipe: TrainingSettings) -> "TrainState":
        """The state at the beginning of the next epoch, given this epoch's validation measures."""
        error = validation[1]
        patience = recipe.patience if recipe.options.lr_schedule == "plateau" else recipe.epochs + 1
        plateau = self.plateau.after(self.epoch, error, patience=patience, gain=recipe.gain, drops=recipe.drops)
        finished = ""
        if plateau.over:
            finished = "the validation error stopped improving"
        elif self.epoch + 1 >= recipe.epochs:
            finished = f"{recipe.epochs} epochs are done"
        return TrainState(
            epoch=self.epoch + 1,
            sums=(0.0,) * len(self.sums),
            seconds=self.seconds,
            plateau=plateau,
            finished=finished,
            best=validation if plateau.best_epoch == self.epoch else self.best_measures,
        )

    @property
    def best_measures(self) -> tuple[float, ...]:
        """The validation measures of the epoch with the lowest error."""
        return self.best or (math.nan, self.plateau.best, self.best_top5)

    def for_epochs(self, epochs: int) -> "TrainState":
        """The state of a run that is continued up to `epochs`, which may be more or fewer than before."""
        if self.finished and epochs > self.epoch and not self.plateau.over:
            return replace(self, finished="")
        if not self.finished and epochs <= self.epoch:  # steps of the next epoch stay for a later continuation
            return replace(self, finished=f"{self.epoch} epochs are done")
        return self
