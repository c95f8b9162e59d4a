"""All classes and all C by Newton's method: types, memory, devices, and the way from a small C to a large one."""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from vggfeat._util.torch_settings import find_device, torch_settings
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.svm.kernel import Kernel, make_kernel, squared_norm
from vggfeat.svm.newton import minimise
from vggfeat.svm.problem import Problem, Settings, Solution
from vggfeat.svm.systems import EXACT, Point

TOLERANCE = 1e-6  # of the objective; ten times as much counts as converged
ROUGHLY = 1e-2
STEPS = {torch.float32: 20, torch.float64: 100}
VALUES = 2**24  # of a matrix (classes, N): of more classes than that, some are solved after the others
BUFFERS = 30  # such matrices at once, at most


def solve(problem: Problem, Cs: Sequence[float], settings: Settings) -> Solution:
    """The weights for each C (ascending) and class; converged where the gap is at most 1e-5 of the objective.

    All in float32, and then in float64 the classes that rounding kept from converging (descriptors with large
    norms, a large C). Memory: X in float32, 4 N D bytes, not copied if that is what it is; on the device the
    Gram matrix, 4 N^2 bytes (8 N^2 in float64), where N <= 2 D, and at most 3 GB to work in.
    Raises UsageError for a device that isn't there and for descriptors beyond float32.
    """
    X, signs = _tensors(problem)
    shape = (len(Cs), len(signs))
    solution = Solution(np.zeros((*shape, X.shape[1]), np.float32), np.zeros(shape, np.float32), np.zeros(shape, bool))
    told = 0
    left = torch.arange(len(signs))
    with torch_settings(tf32=False, threads=_threads(settings.jobs)):
        for dtype in STEPS:
            kernel = _kernel(X, len(left), dtype, settings.device)
            if kernel is None:
                break
            for classes in left.split(max(1, VALUES // len(X))):
                for i, found in enumerate(_follow(kernel, signs[classes], Cs)):
                    for whole, part in zip(solution, found, strict=True):
                        whole[i, classes] = part
                    told = _tell(settings, told, int(solution.converged.sum()), solution.converged.size)
            left = torch.from_numpy(~solution.converged.all(axis=0)).nonzero()[:, 0]
            del kernel  # before the next one is made
            if not len(left):
                break
    _tell(settings, told, solution.converged.size, solution.converged.size)
    return solution


def _follow(kernel: Kernel, y: Tensor, Cs: Sequence[float]) -> Iterator[tuple[Tensor, ...]]:
    """At each C from the solution at the one below: weights (m, D), biases (m,), convergence bool (m,).

    Where the first C is large, roughly solved smaller ones lead up to it.
    """
    y = y.to(kernel.device, kernel.dtype)
    point = Point(torch.zeros_like(y), torch.zeros_like(y))
    steps = STEPS[kernel.dtype]
    below = [Cs[0]]
    while below[-1] * kernel.scale > 1:
        below.append(below[-1] / 16)
    for C in below[:0:-1]:
        minimise(kernel, y, C, point, ROUGHLY, steps)
    for C in Cs:
        gap = minimise(kernel, y, C, point, TOLERANCE, steps)
        yield *kernel.weights(point.b), (gap <= 10 * TOLERANCE).cpu()


def _tell(settings: Settings, told: int, done: int, total: int) -> int:
    if settings.progress:
        for count in range(told + 1, done + 1):
            settings.progress(count, total)
    return max(told, done)


def _tensors(problem: Problem) -> tuple[Tensor, Tensor]:
    """X float32 (N, D), and float32 (K, N): +1 positive, -1 negative, 0 ignored."""
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore", UserWarning)  # that X may be read-only, which is all it needs
        X = torch.from_numpy(np.ascontiguousarray(problem.X, np.float32))
    if not squared_norm(X) < 1e30:
        raise UsageError("the descriptors are too large for float32: scale them, best to norm 1")
    signs = np.where(problem.ignore, 0, np.where(problem.positive, 1, -1)).astype(np.float32)
    return X, torch.from_numpy(np.ascontiguousarray(signs.T))


def _kernel(X: Tensor, classes: int, dtype: torch.dtype, name: str) -> Kernel | None:
    """On the device of that name; "auto" is CUDA if it has the memory. None if float64 does not fit."""
    together = min(classes, max(1, VALUES // len(X)))
    workspace = torch.finfo(dtype).bits // 8 * together * (BUFFERS * len(X) + EXACT**2)
    for device in _devices(name):
        kernel = make_kernel(X, dtype, device, workspace)
        if kernel:
            return kernel
    if dtype == torch.float32:
        raise VggfeatError(f"the SVMs of {len(X):,} descriptors don't fit into the memory of {name}: take device cpu")
    return None


def _devices(name: str) -> list[torch.device]:
    if name == "auto":
        return [torch.device(kind) for kind in (["cuda"] if torch.cuda.is_available() else []) + ["cpu"]]
    return [find_device(name)]


def _threads(jobs: int) -> int:
    """As many threads as joblib would take processes."""
    return jobs if jobs > 0 else max(1, torch.get_num_threads() + 1 + jobs)
