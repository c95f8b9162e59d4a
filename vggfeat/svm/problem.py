"""What a solver is given and what it returns, and the checks on the way in."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vggfeat.errors import UsageError

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
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


class Settings(NamedTuple):
    """How to solve: LinearSVM describes them."""

    jobs: int = -1
    seed: int = 0
    device: str = "auto"
    progress: Progress | None = None


Solver = Callable[[Problem, Sequence[float], Settings], Solution]


def grid_of(Cs: Sequence[float]) -> tuple[float, ...]:
    """The values of C, ascending, each once. Raises UsageError."""
    grid = tuple(sorted({float(C) for C in Cs}))
    if not grid or not all(0 < C < np.inf for C in grid):
        raise UsageError(f"C must be a positive number, and there must be one: {list(Cs)}")
    return grid


def matrix_of(X: ArrayLike) -> NDArray[Any]:
    """X as it is, if it is a finite matrix of numbers. Raises UsageError."""
    matrix = np.asarray(X)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise UsageError(f"descriptors must be numbers (samples, D), not {matrix.dtype} {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise UsageError("some descriptors are NaN or infinite")
    return matrix


def bools_of(mask: ArrayLike, shape: tuple[int, ...], name: str) -> Bools:
    """The mask, if it is bool and of that shape. Raises UsageError."""
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
        raise UsageError(f"{len(matrix)} descriptors with {len(Y)} labels: one each, and at least one")
    if is_labels and not 0 <= Y.min() <= Y.max() < len(Y):
        raise UsageError(f"labels go from {Y.min()} to {Y.max()}: they must count the classes from 0")
    positive = Y[:, None] == np.arange(Y.max() + 1) if is_labels else Y
    ignored = np.zeros_like(positive) if ignore is None else bools_of(ignore, positive.shape, "ignore")
    return Problem(matrix, positive, ignored)


def refuse_one_sided(problem: Problem) -> None:
    """Raises UsageError where a class lacks positive or negative samples."""
    for sign, members in (("positive", problem.positive), ("negative", ~problem.positive)):
        empty = np.flatnonzero(~(members & ~problem.ignore).any(axis=0))
        if empty.size:
            raise UsageError(f"class {empty[0]} has no {sign} training samples: add some, or leave it out")
