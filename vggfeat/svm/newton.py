"""Newton's method for the squared hinge loss, for all classes at once, in terms of the N samples.

With the bias among the weights, w = X' b for some b (N,), and the scores are f = G b, where G = X X' + 1. The objective
of a class is P = b' G b / 2 + C sum_i max(0, 1 - y_i f_i)^2. It is quadratic while the support S = {i: y_i f_i < 1}
does not change. A Newton step goes to the minimum of that quadratic, b_S = (G_SS + I / 2C)^-1 y_S and 0 outside S
(Chapelle, Neural Computation 19(5), 2007). If P would grow, the step is halved. After about five steps S does not
change any more, and the minimum is reached.

The distance to the minimum is known: by duality, every a >= 0 gives a lower bound
D(a) = sum a - |X' (y a)|^2 / 2 - |a|^2 / 4C <= min P. At a point with a = y b >= 0 the products with G cancel in the
gap P - D(a), and what remains is a sum of terms that are never negative:

    C (l_i - a_i / 2C)^2              if l_i = 1 - y_i f_i > 0,
    a_i (y_i f_i - 1) + a_i^2 / 4C    otherwise.

In the first, l_i - a_i / 2C is the residual of the Newton system (times y_i). The system is solved until
C |residual|^2 is a small part of P. Ignored samples have y_i = 0, which keeps them out of S.
"""

import torch
from torch import Tensor

from vggfeat.svm.kernel import Kernel
from vggfeat.svm.systems import Point, dot, solve_systems

HALVINGS = 30
PATIENCE = 10  # after so many steps, ten times the tolerance is enough


def minimise(kernel: Kernel, y: Tensor, C: float, point: Point, tolerance: float, steps: int) -> Tensor:
    """Move the point, in place, to each class's minimum. y: (m, N). Returns the gaps relative to P, float64 (m,)."""
    gap = torch.full((len(y),), torch.inf, dtype=torch.float64, device=y.device)
    active = torch.arange(len(y), device=y.device)
    for step in range(steps):
        signs, here = y.index_select(0, active), point.of(active)
        support = losses(here.f, signs) > 0
        b = signs * (signs * here.b).clamp_min(0) * support
        start = Point(b, kernel.product(b))
        gap[active] = relative_gap(start, signs, C)
        enough = gap[active] <= tolerance * (1 if step < PATIENCE else 10)
        done, left = enough.nonzero()[:, 0], (~enough).nonzero()[:, 0]
        point.put(active[done], start.of(done))
        active, signs, support = (rows.index_select(0, left) for rows in (active, signs, support))
        if not len(active):
            break
        here, start = here.of(left), start.of(left)
        # the system of each step is solved more exactly than that of the step before
        target = max(10.0 ** -(3 + step), 1e-8) * objective(here, signs, C)
        end = solve_systems(kernel, support, signs, C, start, target)
        point.put(active, _shortened(here, end, signs, C))
    return gap


def losses(f: Tensor, y: Tensor) -> Tensor:
    """max(0, 1 - y f), and 0 for ignored samples."""
    return (y.abs() - y * f).clamp_min(0)


def objective(point: Point, y: Tensor, C: float) -> Tensor:
    """P, float64 (m,)."""
    loss = losses(point.f, y)
    return dot(*point) / 2 + C * dot(loss, loss)


def relative_gap(point: Point, y: Tensor, C: float) -> Tensor:
    """(P - D) / P at a point with y b >= 0, float64 (m,)."""
    loss, a = losses(point.f, y), y * point.b
    terms = torch.where(loss > 0, C * (loss - a / (2 * C)) ** 2, a * (y * point.f - 1) + a * a / (4 * C))
    return terms.sum(1, dtype=torch.float64) / objective(point, y, C)


def _shortened(here: Point, end: Point, y: Tensor, C: float) -> Point:
    """The end of the step, halved for the classes whose P would grow there (by more than rounding)."""
    limit = objective(here, y, C) * (1 + 1e-6)
    far = torch.arange(len(y), device=y.device)
    for _ in range(HALVINGS):
        far = far[~(objective(end.of(far), y[far], C) <= limit[far])]
        if not len(far):
            return end
        end.put(far, Point(*((one[far] + other[far]) / 2 for one, other in zip(here, end, strict=True))))
    end.put(far, here.of(far))
    return end
