"""One-vs-rest linear SVMs on descriptors, and the choice of C on held-out training samples.

Each class minimises, over its samples i that are not ignored, y_i = +1 or -1,

    (|w|^2 + b^2) / 2  +  C * sum_i max(0, 1 - y_i (w . x_i + b))^2

The bias is regularised, as liblinear does it: a constant feature of 1 beside a descriptor of norm 1. At a
small C it holds b near 0; choosing C on held-out samples makes up for it.
"""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from vggfeat.errors import UsageError, VggfeatError

# Steps of 4 around the best C of L2-normalised descriptors: 1 to 16 for tens of samples a class, less for
# more samples; above, once all samples are separated, the scores hardly change.
CS = (1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0, 256.0)
# The same recalls summed in another order differ in the last digits.
TIE = 1e-9

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Metric = Callable[[Floats, NDArray[Any], Bools], float]
Progress = Callable[[int, int], None]


class Problem(NamedTuple):
    """K binary problems on the same N samples."""

    X: NDArray[Any]  # (N, D), finite
    positive: Bools  # (N, K)
    ignore: Bools  # (N, K), left out of one class's problem and of no other

    def rows(self, mask: Bools) -> "Problem":
        return Problem(*(array[mask] for array in self))


class Solution(NamedTuple):
    """What a solver returns for each C and each class: the weights, the bias, and whether it converged."""

    coef: Floats  # (len(Cs), K, D)
    intercept: Floats  # (len(Cs), K)
    converged: Bools  # (len(Cs), K)


@dataclass(eq=False, repr=False)
class LinearSVM(BaseEstimator):
    """One-vs-rest linear SVM with the interface of scikit-learn: one column a class, for two classes too.

    C: weight of the loss, > 0. jobs: processes, -1 for all cores (the result does not depend on it).
    seed: of the solver's random order. solver: a key of SOLVERS.
    progress: called as progress(fits done, fits in all), in this process.

    After `fit`: coef_ float32 (K, D), intercept_ float32 (K,), converged_ bool (K,).
    """

    C: float = 1.0
    _: KW_ONLY
    jobs: int = -1
    seed: int = 0
    solver: str = "liblinear"
    progress: Progress | None = None

    def fit(self, X: ArrayLike, Y: ArrayLike, ignore: ArrayLike | None = None) -> "LinearSVM":
        """Train on X (N, D) floats, with Y either integer labels (N,) in 0..K-1 or a bool matrix (N, K).

        ignore: (N, K) bool; such a sample is left out of that class's problem and of no other.
        Warns once (ConvergenceWarning) if some classes did not converge; converged_ says which.
        Raises UsageError for values that aren't finite, wrong shapes, a class without positive or negative
        samples; VggfeatError when a worker process is killed.
        """
        solve, grid = _solver(self.solver), _grid([self.C])
        problem = _problem(X, np.asarray(Y), ignore)
        _refuse_one_sided(problem)
        solution = solve(problem, grid, self.jobs, self.seed, self.progress)
        self.coef_, self.intercept_, self.converged_ = (values[0] for values in solution)
        if not self.converged_.all():
            failed = f"{(~self.converged_).sum()} of {len(self.converged_)} classes did not converge"
            warnings.warn(f"{failed} at C={self.C:g}: try a smaller C", ConvergenceWarning, stacklevel=2)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """Scores float32 (N, K), signed: above 0 means the class. X: (N, D)."""
        if not hasattr(self, "coef_"):
            raise UsageError("this LinearSVM is not trained yet: call fit first")
        matrix = _matrix(X)
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
    solver: str = "liblinear",
    progress: Progress | None = None,
) -> CSearch:
    """Train at each C without the validation samples, and choose the C that does best on them.

    X, Y, ignore, jobs, seed, solver, progress: as for `LinearSVM`.
    validation: (N,) bool, the held-out samples (`stratified_holdout`, or VOC's val within trainval).
    metric: called as metric(scores float32 (M, K), Y, ignore) with the M validation rows, Y as given, ignore
    bool (M, K) also where none was given; higher is better. Of values equal to 1e-9 the smaller C wins.
    Fits that don't converge are scored as they are, and reported in the result.
    Raises UsageError as `LinearSVM.fit` does, and if the metric is NaN at some C.
    """
    solve, grid = _solver(solver), _grid(Cs)
    targets = np.asarray(Y)
    problem = _problem(X, targets, ignore)
    held = _bools(validation, (len(targets),), "validation")
    if held.all() or not held.any():
        raise UsageError("'validation' must leave samples on both sides")
    train, test = problem.rows(~held), problem.rows(held)
    _refuse_one_sided(train)
    solution = solve(train, grid, jobs, seed, progress)
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


def stratified_holdout(labels: ArrayLike, fraction: float = 0.2, seed: int = 0) -> Bools:
    """Draw the samples that choose C: of each class the fraction, half rounded up; a bool mask (N,).

    At least one sample of a class is held out, and at least one is not; a class with a single sample keeps it
    for training. labels: (N,) integers or strings. The same labels and seed give the same mask.
    Raises UsageError if fraction is not in (0, 1) or no class has two samples.
    """
    names = np.asarray(labels)
    if names.ndim != 1:
        raise UsageError(f"labels must be (N,), not {names.shape}")
    if not 0 < fraction < 1:
        raise UsageError(f"the fraction held out must lie between 0 and 1, not {fraction}")
    keys = np.random.default_rng(seed).random(len(names))
    held = np.zeros(len(names), bool)
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        count = min(max(int(fraction * len(members) + 0.5), 1), len(members) - 1)
        held[members[np.argsort(keys[members])[:count]]] = True
    if not held.any():
        raise UsageError("can't hold out samples to choose C: no class has two")
    return held


def solve_liblinear(problem: Problem, Cs: Sequence[float], jobs: int, seed: int, progress: Progress | None) -> Solution:
    """scikit-learn's LinearSVC, one fit for each C and class, in parallel processes.

    Memory: X once in float64, 8 N D bytes, which the processes share through a file in /dev/shm or
    $JOBLIB_TEMP_FOLDER, and liblinear's sparse copy in each process, up to 16 N (D + 1) bytes: for
    15,420 x 24,576 that is 3 GB and 6 GB a process. Classes with ignored samples also copy their rows.
    """
    if jobs == 0:
        raise UsageError("jobs must be a number of processes, or -1 for all cores, not 0")
    X = np.ascontiguousarray(problem.X, np.float64)  # here, or LinearSVC would do it in every fit
    columns = list(zip(problem.positive.T, ~problem.ignore.T, strict=True))
    tasks = [delayed(_fit_one)(X, *column, C, seed) for C in Cs for column in columns]
    # processes, since liblinear has one random generator: threads would change each other's results
    parallel = Parallel(n_jobs=jobs, backend="loky", return_as="generator")
    fits = []
    try:
        for fit in parallel(tasks):
            fits.append(fit)
            if progress:
                progress(len(fits), len(tasks))
    except BrokenProcessPool:
        raise VggfeatError("a process training an SVM was killed (out of memory?): try fewer jobs") from None
    coef, intercept, converged = zip(*fits, strict=True)
    shape = (len(Cs), len(columns))
    weights = np.reshape(coef, (*shape, X.shape[1]))
    return Solution(weights, np.reshape(intercept, shape), np.reshape(converged, shape))


def _fit_one(X: NDArray[np.float64], positive: Bools, kept: Bools, C: float, seed: int) -> tuple[Any, ...]:
    """Weights (D,), bias and convergence of one binary problem."""
    if not kept.all():
        X, positive = X[kept], positive[kept]
    # Classes that can be separated (N below D, or near it) are far faster in the dual at a large C; others
    # stall there and are fast in the primal. With these tolerances both reach the optimum to 1e-6 in CS.
    attempts = [(True, 1e-4), (False, 1e-6)]
    for dual, tolerance in attempts if len(X) <= 10 * X.shape[1] else reversed(attempts):
        model = LinearSVC(C=C, dual=dual, tol=tolerance, max_iter=1000, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, positive)
        converged = bool(model.n_iter_ < model.max_iter and (dual or _is_optimal(model, X, positive)))
        if converged:
            break
    return model.coef_[0].astype(np.float32), np.float32(model.intercept_[0]), converged


def _is_optimal(model: LinearSVC, X: NDArray[np.float64], positive: Bools) -> bool:
    """Whether the objective P is within 1e-4 P of its minimum; the primal also stops where it makes no way.

    |w|^2 / 2 makes P strongly convex, so P - min P <= |gradient|^2 / 2.
    """
    w, b = model.coef_[0], model.intercept_[0]
    loss = np.maximum(0, 1 - np.where(positive, 1, -1) * model.decision_function(X))
    pull = 2 * model.C * np.where(positive, loss, -loss)
    gradient = np.append(w - pull @ X, b - pull.sum())
    return gradient @ gradient / 2 <= 1e-4 * ((w @ w + b * b) / 2 + model.C * loss @ loss)


Solver = Callable[[Problem, Sequence[float], int, int, Progress | None], Solution]
SOLVERS: dict[str, Solver] = {"liblinear": solve_liblinear}


def _solver(name: str) -> Solver:
    if name not in SOLVERS:
        raise UsageError(f"unknown SVM solver {name!r}: choose from {', '.join(SOLVERS)}")
    return SOLVERS[name]


def _scores(X: NDArray[Any], coef: Floats, intercept: Floats) -> Floats:
    return np.asarray(X, np.float32) @ coef.T + intercept


def _grid(Cs: Sequence[float]) -> tuple[float, ...]:
    grid = tuple(sorted({float(C) for C in Cs}))
    if not grid or not all(0 < C < np.inf for C in grid):
        raise UsageError(f"C must be a positive number, and there must be one: {list(Cs)}")
    return grid


def _matrix(X: ArrayLike) -> NDArray[Any]:
    matrix = np.asarray(X)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise UsageError(f"descriptors must be numbers (samples, D), not {matrix.dtype} {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UsageError("some descriptors are NaN or infinite")
    return matrix


def _bools(mask: ArrayLike, shape: tuple[int, ...], name: str) -> Bools:
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != shape:
        raise UsageError(f"{name!r} must be bool {shape}, not {array.dtype} {array.shape}")
    return array


def _problem(X: ArrayLike, Y: NDArray[Any], ignore: ArrayLike | None) -> Problem:
    matrix = _matrix(X)
    is_labels = Y.ndim == 1 and np.issubdtype(Y.dtype, np.integer)
    if not is_labels and not (Y.ndim == 2 and Y.dtype == np.bool_):
        raise UsageError(f"Y must be integers (N,) or bool (N, K), not {Y.dtype} {Y.shape}")
    if len(Y) != len(matrix) or not len(Y):
        raise UsageError(f"{len(matrix)} descriptors with {len(Y)} labels: one each, and at least one")
    if is_labels and not 0 <= Y.min() <= Y.max() < len(Y):
        raise UsageError(f"labels go from {Y.min()} to {Y.max()}: they must count the classes from 0")
    positive = Y[:, None] == np.arange(Y.max() + 1) if is_labels else Y
    ignored = np.zeros_like(positive) if ignore is None else _bools(ignore, positive.shape, "ignore")
    return Problem(matrix, positive, ignored)


def _refuse_one_sided(problem: Problem) -> None:
    for sign, members in (("positive", problem.positive), ("negative", ~problem.positive)):
        empty = np.flatnonzero(~(members & ~problem.ignore).any(axis=0))
        if empty.size:
            raise UsageError(f"class {empty[0]} has no {sign} training samples: add some, or leave it out")
