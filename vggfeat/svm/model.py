"""The classifier, and the choice of C."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from vggfeat.errors import UsageError
from vggfeat.svm.liblinear import solve_liblinear
from vggfeat.svm.problem import (
    Bools,
    Floats,
    Problem,
    Progress,
    Settings,
    Solution,
    Solver,
    bools_of,
    grid_of,
    matrix_of,
    problem_of,
    refuse_one_sided,
)

# Steps of 4 around the best C of L2-normalised descriptors: 1 to 16 for tens of samples a class, less for
# more samples; above, once all samples are separated, the scores hardly change.
CS = (1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0, 256.0)
# The same recalls summed in another order differ in the last digits.
TIE = 1e-9

Metric = Callable[[Floats, NDArray[Any], Bools], float]


def solve_newton(problem: Problem, Cs: Sequence[float], settings: Settings) -> Solution:
    """vggfeat.svm.path.solve, which brings in torch."""
    from vggfeat.svm.path import solve

    return solve(problem, Cs, settings)


SOLVERS: dict[str, Solver] = {"newton": solve_newton, "liblinear": solve_liblinear}


@dataclass(eq=False, repr=False)
class LinearSVM(BaseEstimator):
    """One-vs-rest linear SVM with the interface of scikit-learn: one column a class, for two classes too.

    C: weight of the loss, > 0. solver: a key of SOLVERS. jobs: cores, -1 for all (the result does not
    depend on it, but for rounding). progress: called as progress(fits done, fits in all), in this process.
    device: of newton: "cpu", "cuda", "cuda:1", ...; "auto" is the GPU if there is one with the memory.
    seed: of liblinear's random order.

    After `fit`: coef_ float32 (K, D), intercept_ float32 (K,), converged_ bool (K,).
    """

    C: float = 1.0
    _: KW_ONLY
    jobs: int = -1
    seed: int = 0
    solver: str = "newton"
    device: str = "auto"
    progress: Progress | None = None

    def fit(self, X: ArrayLike, Y: ArrayLike, ignore: ArrayLike | None = None) -> "LinearSVM":
        """Train on X (N, D) floats, with Y either integer labels (N,) in 0..K-1 or a bool matrix (N, K).

        ignore: (N, K) bool; such a sample is left out of that class's problem and of no other.
        Warns once (ConvergenceWarning) if some classes did not converge; converged_ says which.
        Raises UsageError for values that aren't finite, wrong shapes, a class without positive or negative
        samples; VggfeatError when a worker process is killed.
        """
        solve, settings = _solver(self.solver), _settings(self.jobs, self.seed, self.device, self.progress)
        grid = grid_of([self.C])
        problem = problem_of(X, np.asarray(Y), ignore)
        refuse_one_sided(problem)
        solution = solve(problem, grid, settings)
        self.coef_, self.intercept_, self.converged_ = (values[0] for values in solution)
        if not self.converged_.all():
            failed = f"{(~self.converged_).sum()} of {len(self.converged_)} classes did not converge"
            warnings.warn(f"{failed} at C={self.C:g}: try a smaller C", ConvergenceWarning, stacklevel=2)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores float32 (N, K), signed: above 0 means the class. X: (N, D)."""
        if not hasattr(self, "coef_"):
            raise UsageError("this LinearSVM is not trained yet: call fit first")
        matrix = matrix_of(X)
        if matrix.shape[1] != self.coef_.shape[1]:
            raise UsageError(f"trained on {self.coef_.shape[1]}-D descriptors, asked for {matrix.shape[1]}-D")
        return _scores(matrix, self.coef_, self.intercept_)

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """The class of the highest score, integers (N,); among equals the first."""
        return self.decision_function(X).argmax(axis=1)


@dataclass(frozen=True)
class CSearch:
    """The outcome of `choose_C`; Cs ascend, `scores` and `converged` go with them."""

    C: float
    Cs: tuple[float, ...]
    scores: tuple[float, ...]
    converged: tuple[bool, ...]  # all classes, at this C
    at_edge: Literal["low", "high"] | None  # the best C is an end of the grid: a wider one may do better


def choose_C(
    X: ArrayLike,
    Y: ArrayLike,
    Cs: Sequence[float] = CS,
    *,
    metric: Metric,
    validation: ArrayLike,
    ignore: ArrayLike | None = None,
    jobs: int = -1,
    seed: int = 0,
    solver: str = "newton",
    device: str = "auto",
    progress: Progress | None = None,
) -> CSearch:
    """Train at each C without the validation samples, and choose the C that does best on them.

    X, Y, ignore, jobs, seed, solver, device, progress: as for `LinearSVM`.
    validation: (N,) bool, the held-out samples (`stratified_holdout`, or VOC's val within trainval).
    metric: called as metric(scores float32 (M, K), Y, ignore) with the M validation rows, Y as given, ignore
    bool (M, K) also where none was given; higher is better. Of values equal to 1e-9 the smaller C wins.
    Fits that don't converge are scored as they are, and reported in the result.
    Raises UsageError as `LinearSVM.fit` does, and if the metric is NaN at some C.
    """
    solve, settings, grid = _solver(solver), _settings(jobs, seed, device, progress), grid_of(Cs)
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
    best = int(np.argmax(np.array(scores) >= max(scores) - TIE))  # the first: the smallest C
    ends: dict[int, Literal["low", "high"]] = {0: "low", len(grid) - 1: "high"}
    converged = tuple(bool(classes.all()) for classes in solution.converged)
    return CSearch(grid[best], grid, scores, converged, ends.get(best) if len(grid) > 1 else None)


def _solver(name: str) -> Solver:
    if name not in SOLVERS:
        raise UsageError(f"unknown SVM solver {name!r}: choose from {', '.join(SOLVERS)}")
    return SOLVERS[name]


def _settings(jobs: int, seed: int, device: str, progress: Progress | None) -> Settings:
    if jobs == 0:
        raise UsageError("jobs must be a number of cores, or -1 for all, not 0")
    return Settings(jobs, seed, device, progress)


def _scores(X: NDArray[Any], coef: Floats, intercept: Floats) -> Floats:
    return np.asarray(X, np.float32) @ coef.T + intercept
