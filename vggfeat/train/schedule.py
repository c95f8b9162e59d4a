"""The learning rate: divided by 10 when the validation error stops improving (Sect. 3.1)."""

import math
from dataclasses import dataclass, replace

FACTOR = 10


@dataclass(frozen=True)
class Plateau:
    """Where a run stands: its lowest validation error so far (per cent), the epoch of it, the error of the last
    improvement, the epochs since, and how often the rate was divided. `over` once another division would be due after
    the last.
    """

    best: float = math.inf
    best_epoch: int = -1
    waited: int = 0
    drops: int = 0
    over: bool = False
    improved: float = math.inf

    def after(self, epoch: int, error: float, *, patience: int, gain: float, drops: int) -> "Plateau":
        """The state after an epoch with this validation error. A NaN is no improvement.

        Any lower error is the best net so far; only one that is lower by `gain` points than the last improvement is
        another, and starts the wait anew.
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
        """The learning rate now."""
        return initial / FACTOR**self.drops
