"""One-vs-rest linear SVMs on descriptors, and the choice of C on held-out training samples.

Each class minimises, over its samples i that are not ignored, y_i = +1 or -1,

    (|w|^2 + b^2) / 2  +  C * sum_i max(0, 1 - y_i (w . x_i + b))^2

The bias is regularised, as in liblinear: it is the weight of a constant feature of 1, beside a descriptor of norm 1.
A small C keeps b near 0; choosing C on held-out samples compensates for it.

    settings   settings of the solvers, and the values of C; free of torch and numpy
    model      LinearSVM
    choice     choose_C
    holdout    the training samples that choose C: a part of each class, or folds
    problem    the input and the output of a solver; checks of the input
    liblinear  the solver "liblinear": scikit-learn's LinearSVC, one fit after the other; newton is tested against it
    path       the solver "newton" (the default): all classes together, from a small C to a large one
    newton     ... its steps at one C
    systems    ... the linear system of each step
    kernel     ... products with the kernel matrix
"""

from typing import TYPE_CHECKING

from vggfeat._util.lazy import attach
from vggfeat.svm.settings import CS, SolverSettings

if TYPE_CHECKING:
    from vggfeat.svm.choice import CSearch, choose_C
    from vggfeat.svm.holdout import stratified_folds, stratified_holdout
    from vggfeat.svm.model import SOLVERS, LinearSVM

_MODULES = {
    "CSearch": "choice",
    "choose_C": "choice",
    "stratified_folds": "holdout",
    "stratified_holdout": "holdout",
    "SOLVERS": "model",
    "LinearSVM": "model",
}
__getattr__ = attach(__name__, {name: f"vggfeat.svm.{module}" for name, module in _MODULES.items()})

__all__ = [
    "CS",
    "SOLVERS",
    "CSearch",
    "LinearSVM",
    "SolverSettings",
    "choose_C",
    "stratified_folds",
    "stratified_holdout",
]
