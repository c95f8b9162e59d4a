"""Should the rule for the learning rate ask for improvements above the standard error?  See README.md.

    python benchmarks/train/patience.py

Simulated runs: at each rate the true error falls to a floor, by half in three or seven epochs. The validation error is
the true one with the noise of n images and of the training itself. `paper`: an improvement is one of 0.1 points.
`error`: it must also be above one standard error.
"""

import math

import numpy as np

from vggfeat.train.plateau import Plateau
from vggfeat.weights.run_files import standard_error

FLOORS = (48.0, 36.0, 33.0, 32.5)  # per cent, at the four rates
START, WANDER, RUNS, EPOCHS, GAIN = 90.0, 0.3, 600, 74, 0.1


def run(rule: str, n: int, half: float, rng: np.random.Generator) -> tuple[float, float, int]:
    """The true error of the best net, how far from its floor the error was at the first division, and the epochs."""
    true, plateau, first, best = START, Plateau(), math.nan, math.nan
    for epoch in range(EPOCHS):
        true -= (true - min(true, FLOORS[plateau.drops])) * (1 - 0.5 ** (1 / half))
        error = true + rng.normal(0, math.hypot(standard_error(true, n), WANDER))
        gain = max(GAIN, standard_error(true, n)) if rule == "error" else GAIN
        after = plateau.after(epoch, error, patience=5, gain=gain, drops=3)
        if after.best_epoch == epoch:
            best = true
        if math.isnan(first) and (after.drops or after.over):
            first = true - FLOORS[0]
        plateau = after
        if plateau.over:
            break
    return best, first, epoch + 1


def main() -> None:
    print("half, epochs | images | rule | true error, % | above the floor at the first division, points | epochs")
    for half in (3, 7):
        for n in (200, 500, 2000, 50_000):
            for rule in ("paper", "error"):
                rng = np.random.default_rng(0)
                runs = np.array([run(rule, n, half, rng) for _ in range(RUNS)])
                best, first, epochs = np.nanmean(runs, axis=0)
                spread = runs[:, 0].std(ddof=1) / math.sqrt(RUNS)
                print(f"{half} | {n} | {rule} | {best:.2f} ± {spread:.2f} | {first:.1f} | {epochs:.0f}")


if __name__ == "__main__":
    main()
