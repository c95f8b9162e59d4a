"""All classes and all C by Newton's method: types, memory, devices, and the path from a small C to a large one."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vggfeat._util.torch_settings import find_device, torch_settings
from vggfeat.errors import UsageError, VggfeatError
from vggfeat.svm.kernel import Kernel, make_kernel, squared_norm
from vggfeat.svm.newton import minimise
from vggfeat.svm.problem import Part, Problem
from vggfeat.svm.settings import NewtonTuning, SolverSettings
from vggfeat.svm.systems import Point

TOLERANCE = 1e-6  # relative to the objective; ten times as much counts as converged
MAX_ROUNDING = 1e-3  # in float32 reached at C = 4,000 by descriptors of norm 1, at C = 9 by those of norm 30
ROUGHLY = 1e-2
BUFFERS = 30  # matrices (classes, N) in memory at once, at most
TUNING = NewtonTuning()


class NewtonPath:
    """Solves for each C (ascending) and class; converged if the gap is at most 1e-5 of the objective.

    float32 comes first. float64 then solves the classes that did not converge because of rounding (descriptors with
    large norms, a large C). The kernel and the last solution of each class are kept from call to call: a larger C
    starts from that solution.

    Memory: X in float32, 4 N D bytes, not copied if it has that type already. On the device: the Gram matrix, 4 N^2
    bytes (8 N^2 in float64) if N <= 2 D, and a workspace of at most 3 GB.
    Raises UsageError for an invalid device and for descriptors too large for float32; VggfeatError without memory.
    """

    def __init__(self, problem: Problem, settings: SolverSettings, tuning: NewtonTuning = TUNING) -> None:
        self.X, self.signs = _tensors(problem, tuning)
        self.settings, self.tuning = settings, tuning
        self.kernel: Kernel | None = None
        self.reached: dict[
            tuple[Any, ...], tuple[float, Point]
        ] = {}  # (dtype, *classes) -> the last C, and its solution

    def __call__(self, Cs: Sequence[float], take: Callable[[Part], None]) -> None:
        """Solve at each C, and hand over the solution in parts."""
        converged = torch.zeros(len(Cs), len(self.signs), dtype=torch.bool)
        told = 0
        left = torch.arange(len(self.signs))
        with torch_settings(tf32=False, threads=_threads(self.settings.jobs)):
            for name, steps in self.tuning.precisions:
                kernel = self._kernel(getattr(torch, name), len(left))
                if kernel is None:
                    break
                for classes in left.split(_together(self.X, self.tuning)):
                    for i, (coef, intercept, done) in enumerate(self._follow(kernel, classes, Cs, steps)):
                        take(Part(i, classes.numpy(), coef.numpy(), intercept.numpy(), done.numpy()))
                        converged[i, classes] = done
                        told = _tell(self.settings, told, int(converged.sum()), converged.numel())
                del kernel  # so that it is free before the next one is made
                left = (~converged.all(dim=0)).nonzero()[:, 0]
                if not len(left):
                    break
        _tell(self.settings, told, converged.numel(), converged.numel())

    def _follow(
        self, kernel: Kernel, classes: Tensor, Cs: Sequence[float], steps: int
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each C, from the solution of the C before: weights (m, D), biases (m,), convergence bool (m,)."""
        y = self.signs[classes].to(kernel.device, kernel.dtype)
        group = (kernel.dtype, *classes.tolist())
        point = self._start(kernel, y, group, Cs[0], steps)
        for C in Cs:
            gap = minimise(kernel, y, C, point, TOLERANCE, steps)
            # Rounding of the scores moves the gap by about this much, which the gap itself does not show.
            rounding = C * kernel.scale * torch.finfo(kernel.dtype).eps
            yield *kernel.weights(point.b), ((gap <= 10 * TOLERANCE) & (rounding < MAX_ROUNDING)).cpu()
        self.reached[group] = Cs[-1], Point(point.b.cpu(), point.f.cpu())

    def _start(self, kernel: Kernel, y: Tensor, group: tuple[Any, ...], C: float, steps: int) -> Point:
        """The group's solution at a smaller C. If there is none: zero, or for a large C a rough solution."""
        last, there = self.reached.get(group, (np.inf, None))
        if there and last <= C:
            return Point(*(values.to(kernel.device) for values in there))
        point = Point(torch.zeros_like(y), torch.zeros_like(y))
        below = [C]
        while below[-1] * kernel.scale > 1:
            below.append(below[-1] / 16)
        for smaller in below[:0:-1]:
            minimise(kernel, y, smaller, point, ROUGHLY, steps)
        return point

    def _kernel(self, dtype: torch.dtype, classes: int) -> Kernel | None:
        if self.kernel is None or self.kernel.dtype != dtype:
            self.kernel = None
            self.kernel = _make_kernel(self.X, classes, dtype, self.settings.device, self.tuning)
        return self.kernel


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
    return max(1, min(tuning.batch_classes, tuning.batch_values // len(X)))


def _make_kernel(X: Tensor, classes: int, dtype: torch.dtype, name: str, tuning: NewtonTuning) -> Kernel | None:
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
