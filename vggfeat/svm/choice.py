"""The choice of C on held-out samples: those of one mask, or of each of several folds in turn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vggfeat._util.options import takes
from vggfeat.errors import UsageError
from vggfeat.svm.model import find_solver
from vggfeat.svm.problem import Bools, Part, Problem, Solve, grid_of, problem_of, refuse_one_sided, scores_of
from vggfeat.svm.settings import BOUNDS, CS, STEP, SolverName, SolverSettings

TIE = 1e-9  # the same recalls, added up in a different order, differ in the last digits

Metric = Callable[[NDArray[np.float32], NDArray[Any], Bools], float]
Edge = Literal["low", "high"]


@dataclass(frozen=True)
class CSearch:
    """The outcome of `choose_C`.

    Parameters
    ----------
    C : float
        The best value.
    Cs : tuple of float
        All values that were tried, ascending.
    scores : tuple of float
        The metric at each value.
    converged : tuple of bool
        Whether all classes converged, at each value.
    at_edge : {"low", "high"} or None
        Whether the best value is the lowest or the highest that was tried, since the bounds allow no further one; a
        value beyond the bounds may then do better.
    margins : ndarray, float32, shape (M, K)
        What the metric was given at the best value: of each held-out sample, by SVMs that did not train on it.
    """

    C: float
    Cs: tuple[float, ...]
    scores: tuple[float, ...]
    converged: tuple[bool, ...]
    at_edge: Edge | None
    margins: NDArray[np.float32] = field(repr=False, compare=False)


@takes(settings=SolverSettings)
def choose_C(
    X: ArrayLike,
    Y: ArrayLike,
    Cs: Sequence[float] = CS,
    *,
    metric: Metric,
    validation: ArrayLike,
    ignore: ArrayLike | None = None,
    bounds: tuple[float, float] = BOUNDS,
    solver: SolverName = "newton",
    settings: SolverSettings,
) -> CSearch:
    """Choose C: train at each value without the held-out samples, and take the best on them.

    If the best value lies at an end of the grid, and is better than the value beside it, the grid grows there by steps
    of 4.

    Parameters
    ----------
    X, Y, ignore
        As for `LinearSVM.fit`.
    Cs : sequence of float
        The values to try. A single value has no end, and does not grow.
    metric : callable
        Called as metric(scores, Y, ignore) with the M held-out rows: scores float32 (M, K), Y as given, ignore bool
        (M, K) even if none was given. Higher is better. If values are equal to 1e-9, the smallest C wins.
    validation : array_like of bool or int, shape (N,)
        Bool: the held-out samples, such as those of `stratified_holdout`, or VOC's val within trainval. Int: the fold
        of each sample for cross-validation, such as those of `stratified_folds`, or -1 if it always trains. Each fold
        is scored by SVMs that were trained on all other samples, and the metric sees the scores of all folds together.
    bounds : tuple of float
        The lowest and the highest C to which the grid grows.
    solver, jobs, seed, device, progress
        As for `LinearSVM`.
    settings : SolverSettings, optional
        The last four as one object, instead of the keywords.

    Returns
    -------
    CSearch
        Fits that did not converge are scored as they are, and reported.

    Raises
    ------
    UsageError
        As `LinearSVM.fit`, and if the metric is NaN at some C.
    VggfeatError
        As `LinearSVM.fit`.
    """
    make, new = find_solver(solver), grid_of(Cs)
    if not 0 < bounds[0] <= bounds[1] < np.inf:
        raise UsageError(f"'bounds' must be two positive numbers, the lower first, not {bounds}")
    targets = np.asarray(Y)
    problem = problem_of(X, targets, ignore)
    folds = _folds_of(validation, len(targets))
    held = folds >= 0
    solve, test = make(_without_each_fold(problem, folds), settings), _HeldOut(problem, folds)
    scores: dict[float, float] = {}
    converged: dict[float, bool] = {}
    margins: dict[float, NDArray[np.float32]] = {}
    while new:
        for C, values, done in zip(new, *test.measure(solve, new), strict=True):
            scores[C] = float(metric(values, targets[held], problem.ignore[held]))
            converged[C], margins[C] = bool(done.all()), values
        if np.isnan(list(scores.values())).any():
            raise UsageError("the metric is NaN on the validation samples: hold out samples of every class")
        best, edge = _best(scores)
        margins = {best: margins[best].copy()}  # a better one can only come from what is tried next
        new = _further(scores, edge, bounds)
    tried = tuple(sorted(scores))
    of_each = tuple(scores[C] for C in tried), tuple(converged[C] for C in tried)
    return CSearch(best, tried, *of_each, edge, margins[best])


def _best(scores: Mapping[float, float]) -> tuple[float, Edge | None]:
    """The smallest of the best Cs; and the end of the grid where it lies, unless the C beside it is as good."""
    Cs = sorted(scores)
    good = [C for C in Cs if scores[C] >= max(scores.values()) - TIE]
    ends: dict[float, Edge] = {Cs[0]: "low", Cs[-1]: "high"}
    is_flat = len(Cs) == 1 or good[:2] == Cs[:2]
    return good[0], None if is_flat else ends.get(good[0])


def _further(scores: Mapping[float, float], edge: Edge | None, bounds: tuple[float, float]) -> tuple[float, ...]:
    """The next C beyond an end of the grid, if the bounds allow it."""
    if edge == "low" and min(scores) > bounds[0]:
        return (max(min(scores) / STEP, bounds[0]),)
    if edge == "high" and max(scores) < bounds[1]:
        return (min(max(scores) * STEP, bounds[1]),)
    return ()


def _folds_of(validation: ArrayLike, count: int) -> NDArray[np.intp]:
    """The fold of each sample (N,), -1 for those that always train. Raises UsageError."""
    array = np.asarray(validation)
    if array.shape != (count,) or array.dtype.kind not in "bi":
        raise UsageError(f"'validation' must be bool ({count},), or int for folds, not {array.dtype} {array.shape}")
    folds = np.where(array, 0, -1) if array.dtype == np.bool_ else array.astype(np.intp)
    if folds.min() < -1:
        raise UsageError(f"'validation' has the fold {folds.min()}: folds count from 0, and -1 always trains")
    if (folds == folds[0]).all():
        raise UsageError("'validation' must leave samples on both sides")
    return folds


def _numbers(folds: NDArray[np.intp]) -> NDArray[np.intp]:
    return np.unique(folds[folds >= 0])


def _without_each_fold(problem: Problem, folds: NDArray[np.intp]) -> Problem:
    """The problem's classes without the samples of the first fold, then those without the second, ...

    They share X, so that they share the kernel matrix: a fold's samples are ignored by its classes. Samples that no
    class trains on are left out. Raises UsageError if a class has no positive or no negative samples without a fold.
    """
    numbers = _numbers(folds)
    used = (folds[:, None] != numbers).any(axis=1)
    kept = problem if used.all() else problem.rows(used)
    parts = [kept._replace(ignore=kept.ignore | (folds[used] == number)[:, None]) for number in numbers]
    for part in parts:
        refuse_one_sided(part)
    return Problem(kept.X, np.hstack([part.positive for part in parts]), np.hstack([part.ignore for part in parts]))


class _HeldOut:
    """Scores the samples of each fold by the SVMs that were trained without it."""

    def __init__(self, problem: Problem, folds: NDArray[np.intp]) -> None:
        held = folds[folds >= 0]
        self.classes, self.samples = problem.positive.shape[1], len(held)
        self.folds = [(np.flatnonzero(held == number), problem.X[folds == number]) for number in _numbers(folds)]

    def measure(self, solve: Solve, Cs: Sequence[float]) -> tuple[NDArray[np.float32], Bools]:
        """For each C: the scores float32 (M, K) of all held-out samples, and what converged, bool (folds * K,)."""
        scores = np.zeros((len(Cs), self.samples, self.classes), np.float32)
        converged = np.zeros((len(Cs), len(self.folds) * self.classes), bool)

        def take(part: Part) -> None:
            converged[part.at, part.classes] = part.converged
            of_fold, of_class = np.divmod(part.classes, self.classes)
            for fold in np.unique(of_fold):
                mine, (places, X) = of_fold == fold, self.folds[fold]
                values = scores_of(X, part.coef[mine], part.intercept[mine])
                scores[part.at][np.ix_(places, of_class[mine])] = values

        solve(Cs, take)
        return scores, converged
