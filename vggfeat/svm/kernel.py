"""The kernel matrix G = X X' + 1 of N samples X (N, D): stored, or as products with X. The 1 is the bias."""

import warnings
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from vggfeat._util.memory import free_memory
from vggfeat.svm.settings import NewtonTuning


class Kernel(ABC):
    """G in one floating point type on one device. X: float32 (N, D) on the CPU."""

    def __init__(self, X: Tensor, dtype: torch.dtype, device: torch.device, tuning: NewtonTuning) -> None:
        self.X, self.dtype, self.device, self.tuning = X, dtype, device, tuning

    @abstractmethod
    def product(self, V: Tensor) -> Tensor:
        """V G, (m, N) -> (m, N)."""

    @abstractmethod
    def block(self, rows: Tensor) -> Tensor:
        """G of some samples, rows int (m,) -> a new (m, m)."""

    def weights(self, V: Tensor) -> tuple[Tensor, Tensor]:
        """V X and the sums of V's rows, (m, N) -> float32 (m, D) and (m,) on the CPU."""
        parts = self.X.split(self.tuning.columns, dim=1)
        products = [(V @ part.to(self.device, self.dtype)).float().cpu() for part in parts]
        return torch.cat(products, dim=1), V.sum(1).float().cpu()

    @cached_property
    def scale(self) -> float:
        """The mean of G's diagonal."""
        return 1 + squared_norm(self.X, self.tuning.rows) / len(self.X)

    @cached_property
    def leading(self) -> tuple[Tensor, Tensor]:
        """Nearly the largest eigenvalues, descending (r,), and their vectors (N, r), by subspace iteration.

        The start is fixed, so that the same samples give the same numbers.
        """
        n, rank = len(self.X), self.tuning.rank
        start = torch.randn(min(rank + 10, n), n, generator=torch.Generator().manual_seed(0))
        basis = start.to(self.device, self.dtype)
        for _ in range(2):
            basis = torch.linalg.qr(self.product(basis).T)[0].T
        values, vectors = torch.linalg.eigh(self.product(basis) @ basis.T)
        values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
        return values.clamp_min(torch.finfo(self.dtype).eps * float(values[0])), basis.T @ vectors


class Gram(Kernel):
    """G as a matrix of N^2 values; a product takes 2 N^2 operations per row."""

    def __init__(self, X: Tensor, dtype: torch.dtype, device: torch.device, tuning: NewtonTuning) -> None:
        super().__init__(X, dtype, device, tuning)
        n = len(X)
        self.G = torch.ones(n, n, dtype=dtype, device=device)
        strips = [slice(start, start + tuning.rows) for start in range(0, n, tuning.rows)]
        for part in X.split(tuning.columns, dim=1):
            columns = part.to(device, dtype).contiguous()
            for strip in strips:  # only the lower half, which is then mirrored
                self.G[strip.start :, strip].addmm_(columns[strip.start :], columns[strip].T)
        for strip in strips:
            self.G[strip, strip.stop :] = self.G[strip.stop :, strip].T

    def product(self, V: Tensor) -> Tensor:
        return V @ self.G

    def block(self, rows: Tensor) -> Tensor:
        return self.G[rows[:, None], rows]


class Factors(Kernel):
    """G as its factor X, without memory beyond X; a product takes 4 N D operations per row."""

    def __init__(self, X: Tensor, dtype: torch.dtype, device: torch.device, tuning: NewtonTuning) -> None:
        super().__init__(X, dtype, device, tuning)
        self.factor = X.to(device, dtype)

    def product(self, V: Tensor) -> Tensor:
        return torch.addmm(V.sum(1, keepdim=True), V @ self.factor, self.factor.T)

    def block(self, rows: Tensor) -> Tensor:
        return self.factor[rows] @ self.factor[rows].T + 1


def squared_norm(X: Tensor, rows: int) -> float:
    """The sum of all squares. It is added up in float64, `rows` at a time, without a copy of X in that type."""
    return sum(float(torch.linalg.vector_norm(part, dtype=torch.float64)) ** 2 for part in X.split(rows))


def make_kernel(
    X: Tensor, dtype: torch.dtype, device: torch.device, workspace: int, tuning: NewtonTuning
) -> Kernel | None:
    """The fastest form of G that fits into memory beside a workspace of so many bytes; None if none fits.

    For N <= 2 D that is the matrix, whose products are then cheaper. If it does not fit, the factors are used, with a
    warning. On the CPU in float32 the factors always fit: they are X itself.
    """
    n, dim = X.shape
    size = torch.finfo(dtype).bits // 8
    free = tuning.free_memory
    if free is None:
        free = free_memory() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    needed = size * n * (n + min(dim, tuning.columns))
    if n <= 2 * dim and needed + workspace <= free:
        return Gram(X, dtype, device, tuning)
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
    return Factors(X, dtype, device, tuning)
