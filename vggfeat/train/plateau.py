"""The learning rate: divided by 10 when the validation error stops improving (Sect. 3.1)."""

import math
from dataclasses import dataclass, replace

from vggfeat._util.json_files import Count

FACTOR = 10
MAX_DROPS = 300  # a smaller rate is no number


@dataclass(frozen=True)
class Plateau:
    """What the validation errors so far (top-1, per cent) say about the learning rate."""

    best: float = math.inf
    best_epoch: int = -1
    waited: Count = 0  # epochs since the last improvement, or since the rate was divided
    drops: Count = 0  # how often the rate was divided
    over: bool = False  # whether it would have to be divided once more than is allowed
    improved: float = math.inf  # the error of the last improvement

    def __post_init__(self) -> None:
        if self.drops > MAX_DROPS:
            raise ValueError(f"a learning rate that was divided {self.drops} times")

    def after(self, epoch: int, error: float, *, patience: int, gain: float, drops: int) -> "Plateau":
        """The state after an epoch with this validation error; NaN is no improvement.

        The lowest error is that of the best net. Only an error at least `gain` below the last improvement is the next
        improvement, from which the epochs are counted again.
        """
        now = replace(self, best=error, best_epoch=epoch) if error < self.best else self
        if error < self.improved - gain:
            return replace(now, improved=error, waited=0)
        if self.waited + 1 < patience:
            return replace(now, waited=self.waited + 1)
        if self.drops == drops:
            return replace(now, waited=self.waited + 1, over=True)
        return replace(now, waited=0, drops=self.drops + 1)

    def rate(self, initial: float) -> float:
        """The current learning rate."""
        return initial / FACTOR**self.drops
