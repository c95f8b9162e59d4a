"""The Newton systems of all classes, (G_SS + I / 2C) b_S = y_S on each class's support S, solved together.

The method is conjugate gradients, in which the products with G of all classes are one matrix product. A preconditioner
keeps the number of products small: an approximate inverse of each class's matrix. It is exact if the support is small;
if not, it is the inverse of the leading part U_S diag(values) U_S' + shift I, by Woodbury's identity.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vggfeat.svm.kernel import Kernel


class Point(NamedTuple):
    """Where the classes are: w = X' b, the bias is the sum of b, and the scores are f = G b."""

    b: Tensor  # (m, N)
    f: Tensor  # (m, N)

    def of(self, classes: Tensor) -> "Point":
        return Point(self.b.index_select(0, classes), self.f.index_select(0, classes))

    def put(self, classes: Tensor, other: "Point") -> None:
        self.b[classes], self.f[classes] = other


class Inverse(Protocol):
    """The approximate inverses of some classes' matrices."""

    def __call__(self, r: Tensor) -> Tensor: ...  # (m, N) -> (m, N), both zero outside the support

    def keep(self, classes: Tensor) -> None: ...  # only these, int (l,)


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Row by row, (m, N) and (m, N) -> float64 (m,)."""
    return (left * right).sum(1, dtype=torch.float64)


def solve_systems(kernel: Kernel, support: Tensor, y: Tensor, C: float, start: Point, target: Tensor) -> Point:
    """Solve from a start, until C |residual|^2 <= target. support: bool (m, N); y: (m, N); target: (m,)."""
    b, f = start.b.clone(), start.f.clone()
    for classes, inverse in _inverses(kernel, support, C):
        inside = support[classes].to(b.dtype)
        r = (y[classes] - f[classes] - b[classes] / (2 * C)) * inside
        p, slope = torch.zeros_like(r), torch.ones(len(r), dtype=torch.float64, device=r.device)
        live = C * dot(r, r) > target[classes]
        for _ in range(kernel.tuning.max_products):
            if not live.all():
                kept = live.nonzero()[:, 0]
                inverse.keep(kept)
                classes, r, p, inside, slope = (rows.index_select(0, kept) for rows in (classes, r, p, inside, slope))
            if not len(classes):
                break
            z = inverse(r)
            before, slope = slope, dot(r, z)
            p = z + _column(slope / before, p) * p
            product = kernel.product(p)
            q = (product + p / (2 * C)) * inside
            bend = dot(p, q)
            step = _column(torch.where(bend > 0, slope / bend, 0), p)
            b.index_add_(0, classes, step * p)
            f.index_add_(0, classes, step * product)
            r = r - step * q
            live = (C * dot(r, r) > target[classes]) & (bend > 0)
    return Point(b, f)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.dtype)[:, None]


def _inverses(kernel: Kernel, support: Tensor, C: float) -> Iterator[tuple[Tensor, Inverse]]:
    """The classes, int (m,), grouped by the kind of their inverses."""
    # up to this size a factorisation, m^3 / 3, costs no more than three products with G, 2 N^2
    cheap = max(512, int(2.6 * support.shape[1] ** (2 / 3)))
    small = support.sum(1) <= min(kernel.tuning.exact_support, cheap)
    for kind, members in ((Exact, small), (LowRank, ~small)):
        classes = members.nonzero()[:, 0]
        if len(classes):
            yield classes, kind(kernel, support[classes], C)


def _factor(matrices: Tensor) -> Tensor:
    """Cholesky's factors (..., m, m), with diagonals enlarged by as much as rounding may have taken."""
    diagonals = matrices.diagonal(dim1=-2, dim2=-1)
    diagonals *= 1 + 4 * torch.finfo(matrices.dtype).eps * matrices.shape[-1]
    # if this still fails, the step is a bad one, and the line search refuses it
    return torch.linalg.cholesky_ex(matrices).L


class Exact:
    """The inverses of the matrices themselves."""

    def __init__(self, kernel: Kernel, support: Tensor, C: float) -> None:
        self.rows = [inside.nonzero()[:, 0] for inside in support]
        self.factors = []
        for rows in self.rows:
            matrix = kernel.block(rows)
            matrix.diagonal().add_(1 / (2 * C))
            self.factors.append(_factor(matrix))

    def keep(self, classes: Tensor) -> None:
        kept = classes.tolist()
        self.rows, self.factors = [self.rows[i] for i in kept], [self.factors[i] for i in kept]

    def __call__(self, r: Tensor) -> Tensor:
        z = torch.zeros_like(r)
        for new, old, rows, factor in zip(z, r, self.rows, self.factors, strict=True):
            new[rows] = torch.cholesky_solve(old[rows, None], factor)[:, 0]
        return z


class LowRank:
    """(U_S V U_S' + s I)^-1 = (I - U_S (s V^-1 + U_S' U_S)^-1 U_S') / s, without 1/s, which has no effect."""

    def __init__(self, kernel: Kernel, support: Tensor, C: float) -> None:
        values, self.vectors = kernel.leading
        shift = 1 / (2 * C) + values[-1]  # all that is not in the leading part counts as its last value
        parts = (self.vectors[inside] for inside in support)
        inner = torch.stack([part.T @ part for part in parts])
        self.factors = _factor(inner + torch.diag(shift / values))
        self.support = support

    def keep(self, classes: Tensor) -> None:
        self.factors, self.support = self.factors[classes], self.support[classes]

    def __call__(self, r: Tensor) -> Tensor:
        inner = torch.cholesky_solve((r @ self.vectors)[:, :, None], self.factors)[:, :, 0]
        return (r - inner @ self.vectors.T) * self.support
