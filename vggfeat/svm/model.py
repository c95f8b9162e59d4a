"""The classifier, and the choice of C."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from vggfeat._util.options import takes
from vggfeat.errors import UsageError
from vggfeat.svm.liblinear import solve_liblinear
from vggfeat.svm.problem import (
    Bools,
    Problem,
    Solution,
    Solver,
    bools_of,
    grid_of,
    matrix_of,
    problem_of,
    refuse_one_sided,
)
from vggfeat.svm.settings import CS, Progress, SolverName, SolverSettings

TIE = 1e-9  # the same recalls, added up in a different order, differ in the last digits

Metric = Callable[[NDArray[np.float32], NDArray[Any], Bools], float]


def solve_newton(problem: Problem, Cs: Sequence[float], settings: SolverSettings) -> Solution:
    """`vggfeat.svm.path.solve`; imported here because it imports torch."""
    from vggfeat.svm.path import solve

    return solve(problem, Cs, settings)


SOLVERS: dict[str, Solver] = {"newton": solve_newton, "liblinear": solve_liblinear}


@dataclass(eq=False, repr=False)
class LinearSVM(BaseEstimator):
    """One-vs-rest linear SVM with the interface of scikit-learn.

    Two classes have two columns, not one.

    Parameters
    ----------
    C : float
        Weight of the loss, > 0.
    jobs, seed, device, progress
        As for `SolverSettings`.
    solver : {"newton", "liblinear"}
        newton trains all classes together; liblinear is scikit-learn's LinearSVC for one class after the other.

    Attributes
    ----------
    coef_ : ndarray, float32, shape (K, D)
        Weights of each class, after `fit`.
    intercept_ : ndarray, float32, shape (K,)
        Bias of each class.
    converged_ : ndarray of bool, shape (K,)
        Whether the solver reached the minimum for the class.

    Examples
    --------
    >>> model = LinearSVM(C=16.0, jobs=1, device="cpu").fit([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    >>> model.predict([[0.9, 0.1]]).tolist()
    [0]
    """

    C: float = 1.0
    _: KW_ONLY
    jobs: int = -1
    seed: int = 0
    solver: SolverName = "newton"
    device: str = "auto"
    progress: Progress | None = None

    def fit(self, X: ArrayLike, Y: ArrayLike, ignore: ArrayLike | None = None) -> "LinearSVM":
        """Train the SVMs. Warns once (ConvergenceWarning) if some classes did not converge.

        Parameters
        ----------
        X : array_like of float, shape (N, D)
            The descriptors.
        Y : array_like of int, shape (N,), or of bool, shape (N, K)
            Class numbers in 0..K-1, or which samples are positive for each class.
        ignore : array_like of bool, shape (N, K), optional
            Samples to leave out of a class's problem; they stay in the problems of the other classes.

        Returns
        -------
        LinearSVM
            This object.

        Raises
        ------
        UsageError
            If a shape, type or value is invalid, or a class has no positive or no negative samples.
        VggfeatError
            If the memory is too small, or a worker process was killed.
        """
        solve = _find(self.solver)
        settings = SolverSettings(self.jobs, self.seed, self.device, self.progress)
        grid = grid_of([self.C])
        problem = problem_of(X, np.asarray(Y), ignore)
        refuse_one_sided(problem)
        solution = solve(problem, grid, settings)
        self.coef_, self.intercept_, self.converged_ = (values[0] for values in solution)
        if not self.converged_.all():
            failed = f"{(~self.converged_).sum()} of {len(self.converged_)} classes did not converge"
            warnings.warn(f"{failed} at C={self.C:g}: try a smaller C", ConvergenceWarning, stacklevel=2)
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Score descriptors.

        Parameters
        ----------
        X : array_like of float, shape (N, D)
            The descriptors.

        Returns
        -------
        ndarray, float32, shape (N, K)
            The scores; above 0 means the class.

        Raises
        ------
        UsageError
            If the SVM is not trained, or was trained on descriptors of a different dimension.
        """
        if not hasattr(self, "coef_"):
            raise UsageError("this LinearSVM is not trained yet: call fit first")
        matrix = matrix_of(X)
        if matrix.shape[1] != self.coef_.shape[1]:
            raise UsageError(f"trained on {self.coef_.shape[1]}-D descriptors, asked for {matrix.shape[1]}-D")
        return _scores(matrix, self.coef_, self.intercept_)

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """Predict the class with the highest score.

        Parameters
        ----------
        X : array_like of float, shape (N, D)
            The descriptors.

        Returns
        -------
        ndarray of int, shape (N,)
            Class numbers; the smallest of those with equal scores.

        Raises
        ------
        UsageError
            As `decision_function`.
        """
        return self.decision_function(X).argmax(axis=1)


@dataclass(frozen=True)
class CSearch:
    """The outcome of `choose_C`.

    Parameters
    ----------
    C : float
        The best value.
    Cs : tuple of float
        All values, ascending.
    scores : tuple of float
        The metric at each value.
    converged : tuple of bool
        Whether all classes converged, at each value.
    at_edge : {"low", "high"} or None
        Whether the best value is the lowest or the highest of the grid; a wider grid may then do better.
    """

    C: float
    Cs: tuple[float, ...]
    scores: tuple[float, ...]
    converged: tuple[bool, ...]
    at_edge: Literal["low", "high"] | None


@takes(settings=SolverSettings)
def choose_C(
    X: ArrayLike,
    Y: ArrayLike,
    Cs: Sequence[float] = CS,
    *,
    metric: Metric,
    validation: ArrayLike,
    ignore: ArrayLike | None = None,
    solver: SolverName = "newton",
    settings: SolverSettings,
) -> CSearch:
    """Choose C: train at each value without the validation samples, and take the best on them.

    Parameters
    ----------
    X, Y, ignore
        As for `LinearSVM.fit`.
    Cs : sequence of float
        The values to try.
    metric : callable
        Called as metric(scores, Y, ignore) with the M validation rows: scores float32 (M, K), Y as given, ignore bool
        (M, K) even if none was given. Higher is better. If values are equal to 1e-9, the smallest C wins.
    validation : array_like of bool, shape (N,)
        The held-out samples, such as those of `stratified_holdout`, or VOC's val within trainval.
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
    solve, grid = _find(solver), grid_of(Cs)
    targets = np.asarray(Y)
    problem = problem_of(X, targets, ignore)
    held = bools_of(validation, (len(targets),), "validation")
    if held.all() or not held.any():
        raise UsageError("'validation' must leave samples on both sides")
    train, test = problem.rows(~held), problem.rows(held)
    refuse_one_sided(train)
    solution = solve(train, grid, settings)
    scores = tuple(
        float(metric(_scores(test.X, coef, intercept), targets[held], test.ignore))
        for coef, intercept, _ in zip(*solution, strict=True)
    )
    if np.isnan(scores).any():
        raise UsageError("the metric is NaN on the validation samples: hold out samples of every class")
    best = int(np.argmax(np.array(scores) >= max(scores) - TIE))  # the first, which is the smallest C
    ends: dict[int, Literal["low", "high"]] = {0: "low", len(grid) - 1: "high"}
    converged = tuple(bool(classes.all()) for classes in solution.converged)
    return CSearch(grid[best], grid, scores, converged, ends.get(best) if len(grid) > 1 else None)


def _find(solver: str) -> Solver:
    if solver not in SOLVERS:
        raise UsageError(f"unknown SVM solver {solver!r}: choose from {', '.join(SOLVERS)}")
    return SOLVERS[solver]


def _scores(X: NDArray[Any], coef: NDArray[np.float32], intercept: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(X, np.float32) @ coef.T + intercept
