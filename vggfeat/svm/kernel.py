"""The kernel G = X X' + 1 of N samples X (N, D), the 1 being the bias: as a matrix, or by its factors."""

import warnings
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from vggfeat._util.memory import free_memory

RANK = 100  # of the part that preconditions
COLUMNS = 4096  # of X at a time, on their way to another type or device
ROWS = 2048  # of the Gram matrix at a time


class Kernel(ABC):
    """What solving asks of G, in one floating point type on one device. X: float32 (N, D) on the CPU."""

    def __init__(self, X: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        self.X, self.dtype, self.device = X, dtype, device

    @abstractmethod
    def product(self, V: Tensor) -> Tensor:
        """V G, (m, N) -> (m, N)."""

    @abstractmethod
    def block(self, rows: Tensor) -> Tensor:
        """G of some samples, rows int (m,) -> a new (m, m)."""

    def weights(self, V: Tensor) -> tuple[Tensor, Tensor]:
        """V X and the sums of V's rows, (m, N) -> float32 (m, D) and (m,) on the CPU."""
        parts = [(V @ part.to(self.device, self.dtype)).float().cpu() for part in self.X.split(COLUMNS, dim=1)]
        return torch.cat(parts, dim=1), V.sum(1).float().cpu()

    @cached_property
    def scale(self) -> float:
        """The mean of G's diagonal."""
        return 1 + squared_norm(self.X) / len(self.X)

    @cached_property
    def leading(self) -> tuple[Tensor, Tensor]:
        """Nearly the RANK largest eigenvalues, descending (r,), and their vectors (N, r), by subspace iteration.

        From a fixed start, so that the same samples give the same numbers.
        """
        n = len(self.X)
        start = torch.randn(min(RANK + 10, n), n, generator=torch.Generator().manual_seed(0))
        basis = start.to(self.device, self.dtype)
        for _ in range(2):
            basis = torch.linalg.qr(self.product(basis).T)[0].T
        values, vectors = torch.linalg.eigh(self.product(basis) @ basis.T)
        values, vectors = values.flip(0)[:RANK], vectors.flip(1)[:, :RANK]
        return values.clamp_min(torch.finfo(self.dtype).eps * float(values[0])), basis.T @ vectors


class Gram(Kernel):
    """G as a matrix of N^2 values: 2 N^2 operations a row of a product."""

    def __init__(self, X: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(X, dtype, device)
        n = len(X)
        self.G = torch.ones(n, n, dtype=dtype, device=device)
        strips = [slice(start, start + ROWS) for start in range(0, n, ROWS)]
        for part in X.split(COLUMNS, dim=1):
            columns = part.to(device, dtype).contiguous()
            for strip in strips:  # the lower half, which is then mirrored
                self.G[strip.start :, strip].addmm_(columns[strip.start :], columns[strip].T)
        for strip in strips:
            self.G[strip, strip.stop :] = self.G[strip.stop :, strip].T

    def product(self, V: Tensor) -> Tensor:
        return V @ self.G

    def block(self, rows: Tensor) -> Tensor:
        return self.G[rows[:, None], rows]


class Factors(Kernel):
    """G by its factor X: 4 N D operations a row of a product, and no memory beyond X."""

    def __init__(self, X: Tensor, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(X, dtype, device)
        self.factor = X.to(device, dtype)

    def product(self, V: Tensor) -> Tensor:
        return torch.addmm(V.sum(1, keepdim=True), V @ self.factor, self.factor.T)

    def block(self, rows: Tensor) -> Tensor:
        return self.factor[rows] @ self.factor[rows].T + 1


def squared_norm(X: Tensor) -> float:
    """The sum of all squares, added up in float64 without a copy of X in it."""
    return sum(float(torch.linalg.vector_norm(part, dtype=torch.float64)) ** 2 for part in X.split(ROWS))


def make_kernel(X: Tensor, dtype: torch.dtype, device: torch.device, workspace: int) -> Kernel | None:
    """The form of G that is fastest and fits beside a workspace of so many bytes; None if none does.

    The matrix where N <= 2 D, for which its products are the cheaper ones; if it does not fit, its factors and
    a warning. On the CPU in float32 the factors always serve: they are X, which is there.
    """
    n, dim = X.shape
    size = torch.finfo(dtype).bits // 8
    free = free_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    needed = size * n * (n + min(dim, COLUMNS))
    if n <= 2 * dim and needed + workspace <= free:
        return Gram(X, dtype, device)
    is_here = dtype == X.dtype and device == X.device
    if not is_here and size * n * dim + workspace > free:
        return None
    if n <= 2 * dim and is_here:
        warnings.warn(
            f"the Gram matrix of {n:,} descriptors takes {(needed + workspace) / 1e9:.1f} GB, and {free / 1e9:.1f} GB "
            f"of memory are free: solving without it, about {2 * dim / n:.1f} times slower",
            RuntimeWarning,
            stacklevel=2,
        )
    return Factors(X, dtype, device)
