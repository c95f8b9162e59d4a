"""scikit-learn's LinearSVC, one fit after the other."""

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from vggfeat.errors import VggfeatError
from vggfeat.svm.problem import Bools, Part, Problem, Solve
from vggfeat.svm.settings import SolverSettings


def liblinear(problem: Problem, settings: SolverSettings) -> Solve:
    """One fit for each C and class, in parallel processes. Its Solve raises VggfeatError if a process is killed.

    Memory: X once in float64, 8 N D bytes, which the processes share through a file in /dev/shm or
    $JOBLIB_TEMP_FOLDER, and liblinear's sparse copy in each process, up to 16 N (D + 1) bytes. For
    15,420 x 24,576 that is 3 GB, and 6 GB per process. Classes with ignored samples also copy their rows.
    """
    X = np.ascontiguousarray(problem.X, np.float64)  # LinearSVC would do it again in every fit
    return partial(_fit_all, X, problem, settings)


def _fit_all(
    X: NDArray[np.float64],
    problem: Problem,
    settings: SolverSettings,
    Cs: Sequence[float],
    take: Callable[[Part], None],
) -> None:
    columns = list(zip(problem.positive.T, ~problem.ignore.T, strict=True))
    places = [(i, k) for i in range(len(Cs)) for k in range(len(columns))]
    tasks = [delayed(_fit_one)(X, *columns[k], Cs[i], settings.seed) for i, k in places]
    # processes, because liblinear has one random generator: threads would change each other's results
    parallel = Parallel(n_jobs=settings.jobs, backend="loky", return_as="generator")
    try:
        for done, ((i, k), fit) in enumerate(zip(places, parallel(tasks), strict=True), 1):
            take(Part(i, np.array([k]), *(np.array([value]) for value in fit)))
            if settings.progress:
                settings.progress(done, len(tasks))
    except BrokenProcessPool:
        raise VggfeatError("a process training an SVM was killed (out of memory?): try fewer jobs") from None


def _fit_one(X: NDArray[np.float64], positive: Bools, kept: Bools, C: float, seed: int) -> tuple[Any, ...]:
    """Weights (D,), bias and convergence of one binary problem."""
    if not kept.all():
        X, positive = X[kept], positive[kept]
    # If the classes can be separated (N below D, or near it), the dual is far faster at a large C. If not, the dual
    # stalls and the primal is fast. With these tolerances both reach the optimum to 1e-6 at every C of CS.
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
    """Whether the objective P is within 1e-4 P of its minimum: the primal solver may stop early without a warning.

    |w|^2 / 2 makes P strongly convex, so P - min P <= |gradient|^2 / 2.
    """
    w, b = model.coef_[0], model.intercept_[0]
    loss = np.maximum(0, 1 - np.where(positive, 1, -1) * model.decision_function(X))
    pull = 2 * model.C * np.where(positive, loss, -loss)
    gradient = np.append(w - pull @ X, b - pull.sum())
    return gradient @ gradient / 2 <= 1e-4 * ((w @ w + b * b) / 2 + model.C * loss @ loss)
