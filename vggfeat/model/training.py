"""One training: choose aggregation, scales and C by cross-validation, calibrate, and train on everything."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vggfeat.metrics import mean_class_recall
from vggfeat.model.calibration import best_temperature, threshold_that_keeps
from vggfeat.model.folds import grouped_folds
from vggfeat.model.samples import Candidate, Samples
from vggfeat.model.settings import FitSettings
from vggfeat.svm import LinearSVM, SolverSettings, choose_C
from vggfeat.svm.choice import TIE
from vggfeat.svm.problem import scores_of

FEW = 1000  # photos


@dataclass(frozen=True, eq=False)
class Trained:
    """What one training gives.

    coef : float32 (K, dim). intercept : float32 (K,). temperature, threshold : from photos that were held out while
    C was chosen. recall : mean class recall of these photos, which chose candidate and C, and so is too high.
    tested, tested_margins : the rows int (M,) of these photos, and their margins float32 (M, K) without their fold.
    """

    candidate: Candidate
    C: float
    coef: np.ndarray
    intercept: np.ndarray
    temperature: float
    threshold: float
    recall: float
    tested: np.ndarray
    tested_margins: np.ndarray

    def margins(self, samples: Samples, rows: np.ndarray) -> np.ndarray:
        """The scores of some photos, float32 (n, K)."""
        return scores_of(samples.matrix(self.candidate, rows), self.coef, self.intercept)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A training without the rows of a fold, and what it says of them. margins : float32 (n, K)."""

    rows: np.ndarray
    training: np.ndarray
    trained: Trained
    margins: np.ndarray


@dataclass(frozen=True, eq=False)
class Trainer:
    """Trains on some of the samples. groups : int (N,), of twins. device : of the solver."""

    samples: Samples
    groups: np.ndarray
    settings: FitSettings
    device: str = "auto"

    @property
    def solver(self) -> SolverSettings:
        """How SVMs are solved: those of few photos on one core, since threads would mostly wait for each other."""
        return SolverSettings(jobs=1 if len(self.samples) <= FEW else self.settings.jobs, device=self.device)

    def train(self, rows: np.ndarray, candidates: Sequence[Candidate]) -> Trained:
        """Train on some rows, ascending. Nothing is learned from other rows.

        The best candidate and C are those with the highest mean class recall in cross-validation; the first one of
        equal ones. Their held-out margins set temperature and threshold. Classes without rows are left out.
        """
        labels = np.unique(self.samples.labels[rows], return_inverse=True)[1]
        folds = grouped_folds(labels, self.groups[rows], self.settings.seed)
        best, chosen, recall = candidates[0], None, -1.0
        for candidate in candidates:
            X = self.samples.matrix(candidate, rows)
            search = choose_C(X, labels, metric=_recall, validation=folds, settings=self.solver)
            if max(search.scores) > recall + TIE:
                best, chosen, recall = candidate, search, max(search.scores)
        assert chosen is not None  # a recall is at least 0
        X = self.samples.matrix(best, rows)
        svm = LinearSVM(chosen.C, jobs=self.solver.jobs, device=self.device).fit(X, labels)
        return Trained(
            candidate=best,
            C=chosen.C,
            coef=svm.coef_,
            intercept=svm.intercept_,
            temperature=best_temperature(chosen.margins, labels[folds >= 0]),
            threshold=threshold_that_keeps(chosen.margins, self.settings.keep),
            recall=recall,
            tested=rows[folds >= 0],
            tested_margins=chosen.margins,
        )


def candidates_of(scales: Sequence[int]) -> list[Candidate]:
    """What can be made of the stored scales: all of them, aggregated in each way, and each one alone."""
    every = tuple(scales)
    singles = [Candidate((q,)) for q in sorted(every, reverse=True)]
    if len(every) == 1:
        return singles
    return [Candidate(every, "mean"), Candidate(every, "stack"), Candidate(every, "max"), *singles]


def _recall(scores: np.ndarray, labels: np.ndarray, _: np.ndarray) -> float:
    return mean_class_recall(scores.argmax(axis=1), labels, scores.shape[1])
