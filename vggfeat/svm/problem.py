"""The input and the output of a solver, and the checks of the input."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vggfeat.errors import UsageError
from vggfeat.svm.settings import SolverSettings

Bools = NDArray[np.bool_]


class Problem(NamedTuple):
    """K binary problems on the same N samples."""

    X: NDArray[Any]  # (N, D), finite
    positive: Bools  # (N, K)
    ignore: Bools  # (N, K), left out of this class's problem only

    def rows(self, mask: Bools) -> "Problem":
        """The same problems on some of the samples, mask (N,)."""
        return Problem(*(array[mask] for array in self))


class Part(NamedTuple):
    """The solution of some classes at one C. A later part replaces an earlier one of the same C and class."""

    at: int  # place of C among those asked for
    classes: NDArray[np.intp]  # (m,)
    coef: NDArray[np.float32]  # (m, D)
    intercept: NDArray[np.float32]  # (m,)
    converged: Bools  # (m,)


class Solution(NamedTuple):
    """For each C and each class: the weights, the bias, and whether the solver converged."""

    coef: NDArray[np.float32]  # (len(Cs), K, D)
    intercept: NDArray[np.float32]  # (len(Cs), K)
    converged: Bools  # (len(Cs), K)


# A solver keeps what the values of C have in common, such as the kernel matrix, from one call of its Solve to the next.
Solve = Callable[[Sequence[float], Callable[[Part], None]], None]  # the Cs, ascending, and what takes each part
Solver = Callable[[Problem, SolverSettings], Solve]


def solve_whole(solve: Solve, problem: Problem, Cs: Sequence[float]) -> Solution:
    """All parts of a problem's solution."""
    shape = (len(Cs), problem.positive.shape[1])
    solution = Solution(
        np.zeros((*shape, problem.X.shape[1]), np.float32), np.zeros(shape, np.float32), np.zeros(shape, bool)
    )

    def put(part: Part) -> None:
        for whole, values in zip(solution, part[2:], strict=True):
            whole[part.at, part.classes] = values

    solve(Cs, put)
    return solution


def scores_of(X: NDArray[Any], coef: NDArray[np.float32], intercept: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of samples X (N, D) by some classes' SVMs, float32 (N, m)."""
    return np.asarray(X, np.float32) @ coef.T + intercept


def grid_of(Cs: Sequence[float]) -> tuple[float, ...]:
    """The different values of C, ascending. Raises UsageError."""
    grid = tuple(sorted({float(C) for C in Cs}))
    if not grid or not all(0 < C < np.inf for C in grid):
        raise UsageError(f"C must be one or more positive numbers, not {list(Cs)}")
    return grid


def matrix_of(X: ArrayLike) -> NDArray[Any]:
    """X as it is, if it is a finite matrix of numbers. Raises UsageError."""
    matrix = np.asarray(X)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise UsageError(f"descriptors must be numbers (samples, D), not {matrix.dtype} {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UsageError("some descriptors are NaN or infinite: leave them out")
    return matrix


def bools_of(mask: ArrayLike, shape: tuple[int, ...], name: str) -> Bools:
    """The mask, if it is bool and has that shape. Raises UsageError."""
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != shape:
        raise UsageError(f"{name!r} must be bool {shape}, not {array.dtype} {array.shape}")
    return array


def problem_of(X: ArrayLike, Y: NDArray[Any], ignore: ArrayLike | None) -> Problem:
    """The problem of X (N, D) and Y, integers (N,) or bool (N, K). Raises UsageError."""
    matrix = matrix_of(X)
    is_labels = Y.ndim == 1 and np.issubdtype(Y.dtype, np.integer)
    if not is_labels and not (Y.ndim == 2 and Y.dtype == np.bool_):
        raise UsageError(f"Y must be integers (N,) or bool (N, K), not {Y.dtype} {Y.shape}")
    if len(Y) != len(matrix) or not len(Y):
        raise UsageError(f"{len(matrix)} descriptors with {len(Y)} labels: give one label per descriptor")
    if is_labels and not 0 <= Y.min() <= Y.max() < len(Y):
        raise UsageError(f"labels go from {Y.min()} to {Y.max()}: they must count the classes from 0")
    positive = Y[:, None] == np.arange(Y.max() + 1) if is_labels else Y
    ignored = np.zeros_like(positive) if ignore is None else bools_of(ignore, positive.shape, "ignore")
    return Problem(matrix, positive, ignored)


def refuse_one_sided(problem: Problem) -> None:
    """Raise UsageError if a class has no positive or no negative samples."""
    for sign, members in (("positive", problem.positive), ("negative", ~problem.positive)):
        empty = np.flatnonzero(~(members & ~problem.ignore).any(axis=0))
        if empty.size:
            raise UsageError(f"class {empty[0]} has no {sign} training samples: add some, or leave it out")
