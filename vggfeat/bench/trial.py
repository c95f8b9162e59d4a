"""What all results of a run have in common: the samples, the splits, the stores, and how SVMs are trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vggfeat.bench.benchmark import Benchmark
from vggfeat.bench.probe import Evaluation, Scores, evaluate_splits, score_fold
from vggfeat.bench.protocol import Fold, Splits
from vggfeat.bench.stored import descriptors, fill
from vggfeat.data import ImageSet
from vggfeat.descriptors import Describer


@dataclass(frozen=True)
class Trial:
    """rows : int, those that are described. solver : None for the default of `vggfeat.svm`."""

    benchmark: Benchmark
    images: ImageSet
    splits: Splits
    rows: np.ndarray
    stores: Path
    jobs: int = -1
    solver: str | None = None

    def fill(self, describer: Describer, box: bool) -> None:
        """Describe what the stores lack."""
        fill(self.images, self.rows, describer, self.stores, box=box)

    def descriptors(self, describer: Describer, box: bool) -> tuple[np.ndarray, np.ndarray]:
        """X (N, dim) and the rows that are in it, bool (N,); see `stored.descriptors`."""
        return descriptors(self.images, self.rows, describer, self.stores, box=box)

    def evaluate(self, X: np.ndarray, found: np.ndarray, what: str = "training SVMs") -> Evaluation:
        """Train and test on each split. what : for the progress bar."""
        settings: dict[str, Any] = {"jobs": self.jobs, "solver": self.solver, "what": what}
        return evaluate_splits(X, found, self.images, self.splits, self.benchmark.protocol, **settings)

    def score(self, X: np.ndarray, found: np.ndarray, fold: Fold) -> Scores:
        """Train and test on one fold of any kind."""
        protocol = self.benchmark.protocol
        return score_fold(X, found, self.images, fold, protocol, jobs=self.jobs, solver=self.solver)
