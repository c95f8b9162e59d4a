"""The classifier."""

import warnings
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from vggfeat.errors import UsageError
from vggfeat.svm.liblinear import liblinear
from vggfeat.svm.problem import (
    Problem,
    Solve,
    Solver,
    grid_of,
    matrix_of,
    problem_of,
    refuse_one_sided,
    scores_of,
    solve_whole,
)
from vggfeat.svm.settings import Progress, SolverName, SolverSettings


def newton(problem: Problem, settings: SolverSettings) -> Solve:
    """`vggfeat.svm.path.NewtonPath`; imported here because it imports torch."""
    from vggfeat.svm.path import NewtonPath

    return NewtonPath(problem, settings)


SOLVERS: dict[str, Solver] = {"newton": newton, "liblinear": liblinear}


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
        solver = find_solver(self.solver)
        settings = SolverSettings(self.jobs, self.seed, self.device, self.progress)
        grid = grid_of([self.C])
        problem = problem_of(X, np.asarray(Y), ignore)
        refuse_one_sided(problem)
        solution = solve_whole(solver(problem, settings), problem, grid)
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
        return scores_of(matrix, self.coef_, self.intercept_)

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


def find_solver(name: str) -> Solver:
    """The solver of that name. Raises UsageError."""
    if name not in SOLVERS:
        raise UsageError(f"unknown SVM solver {name!r}: choose from {', '.join(SOLVERS)}")
    return SOLVERS[name]
