"""All classes and all C by Newton's method: types, memory, devices, and the path from a small C to a large one."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vggfeat._util.torch_settings import find_device, torch_settings
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.svm.kernel import Kernel, make_kernel, squared_norm
from vggfeat.svm.newton import minimise
from vggfeat.svm.problem import Problem, Solution
from vggfeat.svm.settings import NewtonTuning, SolverSettings
from vggfeat.svm.systems import Point

TOLERANCE = 1e-6  # relative to the objective; ten times as much counts as converged
ROUGHLY = 1e-2
BUFFERS = 30  # matrices (classes, N) in memory at once, at most
TUNING = NewtonTuning()


def solve(problem: Problem, Cs: Sequence[float], settings: SolverSettings, tuning: NewtonTuning = TUNING) -> Solution:
    """Solve for each C (ascending) and class; converged if the gap is at most 1e-5 of the objective.

    float32 comes first. float64 then solves the classes that did not converge because of rounding (descriptors with
    large norms, a large C). Memory: X in float32, 4 N D bytes, not copied if it has that type already. On the device:
    the Gram matrix, 4 N^2 bytes (8 N^2 in float64) if N <= 2 D, and a workspace of at most 3 GB.
    Raises UsageError for an invalid device and for descriptors too large for float32; VggfeatError without memory.
    """
    X, signs = _tensors(problem, tuning)
    shape = (len(Cs), len(signs))
    solution = Solution(np.zeros((*shape, X.shape[1]), np.float32), np.zeros(shape, np.float32), np.zeros(shape, bool))
    told = 0
    left = torch.arange(len(signs))
    with torch_settings(tf32=False, threads=_threads(settings.jobs)):
        for name, steps in tuning.precisions:
            kernel = _kernel(X, len(left), getattr(torch, name), settings.device, tuning)
            if kernel is None:
                break
            for classes in left.split(_together(X, tuning)):
                for i, found in enumerate(_follow(kernel, signs[classes], Cs, steps)):
                    for whole, part in zip(solution, found, strict=True):
                        whole[i, classes] = part
                    told = _tell(settings, told, int(solution.converged.sum()), solution.converged.size)
            left = torch.from_numpy(~solution.converged.all(axis=0)).nonzero()[:, 0]
            del kernel  # before the next one is made
            if not len(left):
                break
    _tell(settings, told, solution.converged.size, solution.converged.size)
    return solution


def _follow(kernel: Kernel, y: Tensor, Cs: Sequence[float], steps: int) -> Iterator[tuple[Tensor, ...]]:
    """For each C, starting from the solution of the C before: weights (m, D), biases (m,), convergence bool (m,).

    If the first C is large, smaller ones lead up to it; they are solved roughly.
    """
    y = y.to(kernel.device, kernel.dtype)
    point = Point(torch.zeros_like(y), torch.zeros_like(y))
    below = [Cs[0]]
    while below[-1] * kernel.scale > 1:
        below.append(below[-1] / 16)
    for C in below[:0:-1]:
        minimise(kernel, y, C, point, ROUGHLY, steps)
    for C in Cs:
        gap = minimise(kernel, y, C, point, TOLERANCE, steps)
        yield *kernel.weights(point.b), (gap <= 10 * TOLERANCE).cpu()


def _tell(settings: SolverSettings, told: int, done: int, total: int) -> int:
    if settings.progress:
        for count in range(told + 1, done + 1):
            settings.progress(count, total)
    return max(told, done)


def _tensors(problem: Problem, tuning: NewtonTuning) -> tuple[Tensor, Tensor]:
    """X float32 (N, D), and float32 (K, N): +1 positive, -1 negative, 0 ignored."""
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", UserWarning)  # X may be read-only: nothing here writes to it
        X = torch.from_numpy(np.ascontiguousarray(problem.X, np.float32))
    if not squared_norm(X, tuning.rows) < 1e30:
        raise UsageError("the descriptors are too large for float32: scale them, best to norm 1")
    signs = np.where(problem.ignore, 0, np.where(problem.positive, 1, -1)).astype(np.float32)
    return X, torch.from_numpy(np.ascontiguousarray(signs.T))


def _together(X: Tensor, tuning: NewtonTuning) -> int:
    """How many classes are solved together."""
    return max(1, tuning.batch_values // len(X))


def _kernel(X: Tensor, classes: int, dtype: torch.dtype, name: str, tuning: NewtonTuning) -> Kernel | None:
    """The kernel on the device of that name; "auto" is CUDA if it has the memory. None if float64 does not fit."""
    values = min(classes, _together(X, tuning)) * (BUFFERS * len(X) + tuning.exact_support**2)
    workspace = torch.finfo(dtype).bits // 8 * values
    for device in _devices(name):
        kernel = make_kernel(X, dtype, device, workspace, tuning)
        if kernel:
            return kernel
    if dtype == torch.float32:
        raise VggfeatError(f"the SVMs of {len(X):,} descriptors do not fit into the memory of {name}: take device cpu")
    return None


def _devices(name: str) -> list[torch.device]:
    if name == "auto":
        return [torch.device(kind) for kind in (["cuda"] if torch.cuda.is_available() else []) + ["cpu"]]
    return [find_device(name)]


def _threads(jobs: int) -> int:
    """As many threads as joblib would take processes."""
    return jobs if jobs > 0 else max(1, torch.get_num_threads() + 1 + jobs)
