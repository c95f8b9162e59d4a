"""One-vs-rest linear SVMs on descriptors, and the choice of C on held-out training samples.

Each class minimises, over its samples i that are not ignored, y_i = +1 or -1,

    (|w|^2 + b^2) / 2  +  C * sum_i max(0, 1 - y_i (w . x_i + b))^2

The bias is regularised, as in liblinear: it is the weight of a constant feature of 1, beside a descriptor of norm 1.
A small C keeps b near 0; choosing C on held-out samples compensates for it.

    settings   settings of the solvers, and the values of C; free of torch and numpy
    model      LinearSVM, choose_C
    holdout    the training samples that choose C
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
    from vggfeat.svm.holdout import stratified_holdout
    from vggfeat.svm.model import SOLVERS, CSearch, LinearSVM, choose_C

_MODEL = dict.fromkeys(["SOLVERS", "CSearch", "LinearSVM", "choose_C"], "vggfeat.svm.model")
__getattr__ = attach(__name__, {**_MODEL, "stratified_holdout": "vggfeat.svm.holdout"})

__all__ = ["CS", "SOLVERS", "CSearch", "LinearSVM", "SolverSettings", "choose_C", "stratified_holdout"]
